import { assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { read32, swap32 } from "../../plugins/gve/registers.ts";
import { assertDriverFault } from "./faults.ts";

const DOORBELL = g.gve_registers.offsetOf("adminq_doorbell");
const EVENT_COUNTER = g.gve_registers.offsetOf("adminq_event_counter");
const PFN = g.gve_registers.offsetOf("adminq_pfn");

interface Tampering {
  /** Changes what the device wrote, once a command was carried out: its opcode, and a way to the bytes it points to. */
  command?(opcode: number, slot: Uint8Array, at: (address: number, length: number) => Uint8Array): void;
  /** Changes what a register reads. */
  read?(offset: number, value: number): number;
}

/** Brings a driver up against a device whose answers are changed on the way. */
function bringUp(options: Record<string, string>, tampering: Tampering): g.GveDriver {
  const host = new LocalHost();
  const { revision: _, ...given } = { revision: "0", ...options };
  const settings = g.settingsFrom(new OptionValues(gve.options, { ...given, revision: "0" }));
  const device = new g.GveDevice(host.space, settings.device, (vector) => driver?.interrupt(vector));
  const bytesAt = (address: number, length: number) => {
    const offset = address + host.dma.region.delta;
    return host.memory.bytes.subarray(offset, offset + length);
  };
  let done = 0;
  const bar0 = {
    read: (offset: number, width: number) => {
      const value = device.bar0.read(offset, width);
      return tampering.read && width === 4 ? swap32(tampering.read(offset, swap32(value))) : value;
    },
    write: (offset: number, width: number, value: number) => {
      device.bar0.write(offset, width, value);
      if (offset !== DOORBELL) return;
      const queue = read32(device.bar0, PFN) * 4096;
      for (const posted = swap32(value); done < posted; done++) {
        const slot = bytesAt(queue + (done % 64) * 64, 64);
        tampering.command?.(Number(g.gve_adminq_command.decode(slot)["opcode"]), slot, bytesAt);
      }
    },
  };
  let driver: g.GveDriver | undefined = undefined;
  const bus = { bar0, bar2: device.bar2, bar2Size: device.bar2Size };
  driver = new g.GveDriver(bus, host.dma, host.space, host.clock, settings.driver);
  return driver;
}

/** Changes fields of the descriptor. */
function descriptor(change: Record<string, number>): Tampering {
  return {
    command(opcode, slot, at) {
      if (opcode !== g.OPCODE.DESCRIBE_DEVICE) return;
      const page = at(Number(g.describe_device.decode(slot)["device_descriptor_addr"]), 40);
      const values = g.gve_device_descriptor.decode(page);
      page.set(g.gve_device_descriptor.encode({ ...values, ...change } as Record<string, number>));
    },
  };
}

/** Changes the first option of the descriptor. */
function option(id: number, length: number, mask: number): Tampering {
  return {
    command(opcode, slot, at) {
      if (opcode !== g.OPCODE.DESCRIBE_DEVICE) return;
      const page = at(Number(g.describe_device.decode(slot)["device_descriptor_addr"]) + 40, 8);
      page.set(g.gve_device_option.encode({
        option_id: id,
        option_length: length,
        required_features_mask: mask,
      }));
    },
  };
}

/** Changes the resources that a queue gets. */
function resources(opcodeWanted: number, change: Record<string, number>): Tampering {
  return {
    command(opcode, slot, at) {
      if (opcode !== opcodeWanted) return;
      const command = opcode === g.OPCODE.CREATE_TX_QUEUE ? g.create_tx_queue : g.create_rx_queue;
      const cell = at(Number(command.decode(slot)["queue_resources_addr"]), 64);
      const values = g.gve_queue_resources.decode(cell);
      cell.set(g.gve_queue_resources.encode({ ...values, ...change } as Record<string, number>));
    },
  };
}

Deno.test("without tampering the driver comes up", () => {
  for (const format of ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"]) bringUp({ format }, {}).close();
});

Deno.test("V1: an admin event counter never passes the doorbell, and comes there", () => {
  const bend = (value: number): Tampering => ({
    read: (offset, old) => offset === EVENT_COUNTER ? value : old,
  });
  assertDriverFault(() => bringUp({}, bend(2)), "admin-counter");
  assertDriverFault(() => bringUp({}, bend(0xffffffff)), "admin-counter");
  assertDriverFault(() => bringUp({}, bend(0)), "admin-timeout");
});

Deno.test("V2: a status that is unset, unknown or a failure ends bring-up", () => {
  for (const [status, name] of [[0, "UNSET"], [2, "0x2"], [0xfffffff7, "INVALID_ARGUMENT"]] as const) {
    const fault = assertDriverFault(
      () =>
        bringUp({}, {
          command(opcode, slot) {
            if (opcode === g.OPCODE.DESCRIBE_DEVICE) slot.set([0, 0, 0, 0], 4);
            if (opcode === g.OPCODE.DESCRIBE_DEVICE) {
              new DataView(slot.buffer, slot.byteOffset).setUint32(4, status);
            }
          },
        }),
      "admin-status",
    );
    assertEquals(fault.values["status"], name);
  }
});

Deno.test("VERIFY_DRIVER_COMPATIBILITY may be unimplemented, but not refused", () => {
  const answer = (status: number): Tampering => ({
    command(opcode, slot) {
      if (opcode !== g.OPCODE.VERIFY_DRIVER_COMPATIBILITY) return;
      new DataView(slot.buffer, slot.byteOffset).setUint32(4, status);
    },
  });
  bringUp({}, answer(g.STATUS.UNIMPLEMENTED));
  assertDriverFault(() => bringUp({}, answer(g.STATUS.INVALID_ARGUMENT)), "admin-status");
});

Deno.test("V3: descriptor and options lie inside what the device was given", () => {
  for (const total_length of [0, 39, 4097, 65535]) {
    assertDriverFault(() => bringUp({}, descriptor({ total_length })), "descriptor");
  }
  assertDriverFault(() => bringUp({}, descriptor({ mtu: 67 })), "descriptor");
  assertDriverFault(() => bringUp({}, descriptor({ num_device_options: 65535 })), "option");
  assertDriverFault(() => bringUp({}, descriptor({ total_length: 44 })), "option");
  assertDriverFault(() => bringUp({}, option(g.OPTION.DQO_RDA, 4000, 0)), "option");
});

Deno.test("options with a required feature, or shorter than known, are passed over", () => {
  // Without its option the format falls back to GQI_QPL, which this device refuses.
  for (const bent of [option(g.OPTION.DQO_RDA, 8, 1), option(0x9, 8, 0)]) {
    const fault = assertDriverFault(() => bringUp({ format: "dqo-rda" }, bent), "admin-status");
    assertEquals(fault.values["command"], "configure_device_resources");
  }
});

Deno.test("V4: ring sizes are powers of two, and GQI rings at least a page", () => {
  for (const entries of [0, 511, 1000]) {
    assertDriverFault(
      () => bringUp({ format: "dqo-rda" }, descriptor({ tx_queue_entries: entries })),
      "ring-size",
    );
    assertDriverFault(
      () => bringUp({ format: "dqo-rda" }, descriptor({ rx_queue_entries: entries })),
      "ring-size",
    );
  }
  assertDriverFault(
    () => bringUp({ format: "gqi-qpl" }, descriptor({ tx_queue_entries: 128 })),
    "descriptor",
  );
  assertDriverFault(() => bringUp({ format: "gqi-qpl" }, descriptor({ rx_queue_entries: 32 })), "descriptor");
});

Deno.test("V5: doorbells lie in BAR2, event counters in the array", () => {
  for (const db_index of [0x10000, 0x3fffffff, 0xffffffff]) {
    for (const opcode of [g.OPCODE.CREATE_TX_QUEUE, g.OPCODE.CREATE_RX_QUEUE]) {
      assertDriverFault(() => bringUp({}, resources(opcode, { db_index })), "doorbell-index");
    }
  }
  const bent = resources(g.OPCODE.CREATE_TX_QUEUE, { counter_index: 2 });
  assertDriverFault(() => bringUp({ format: "gqi-rda" }, bent), "counter-index");
});

Deno.test("V5: interrupt doorbells lie in BAR2", () => {
  const bent: Tampering = {
    command(opcode, slot, at) {
      if (opcode !== g.OPCODE.CONFIGURE_DEVICE_RESOURCES) return;
      const cells = Number(g.configure_device_resources.decode(slot)["irq_db_addr"]);
      at(cells + 64, 4).set([255, 255, 255, 255]);
    },
  };
  assertDriverFault(() => bringUp({}, bent), "doorbell-index");
});

Deno.test("V6: no two queues share a doorbell", () => {
  const bent = resources(g.OPCODE.CREATE_RX_QUEUE, { db_index: 16 });
  assertDriverFault(() => bringUp({}, bent), "doorbell-shared");
  bringUp({ profile: "linux" }, bent);
});

Deno.test("V21: the packet type map holds known values", () => {
  for (const [offset, value] of [[0, 4], [2047, 6]] as const) {
    const bent: Tampering = {
      command(opcode, slot, at) {
        if (opcode !== g.OPCODE.GET_PTYPE_MAP) return;
        at(Number(g.get_ptype_map.decode(slot)["ptype_map_addr"]), 2048)[offset] = value;
      },
    };
    assertDriverFault(() => bringUp({}, bent), "packet-type");
    bringUp({ profile: "linux" }, bent);
  }
});

Deno.test("page lists keep to the device's limit", () => {
  const tampering = descriptor({ max_registered_pages: 319 });
  assertThrows(() => bringUp({ format: "gqi-qpl" }, tampering), RingFault, "max_registered_pages=319");
  bringUp({ format: "gqi-qpl" }, descriptor({ max_registered_pages: 320 }));
});

Deno.test("the driver closes everything in order, and can be reset while busy", () => {
  for (const format of ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"]) {
    for (const revision of ["0", "1"]) {
      const host = new LocalHost();
      const settings = g.settingsFrom(new OptionValues(gve.options, { format, revision, queues: 2 }));
      const device = new g.GveDevice(host.space, settings.device, () => {});
      const driver = new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver);
      driver.close();
      assertEquals(device.counters()["device.admin.failed"], 0);
      assertEquals(device.inspect()["page_lists"], []);
      const again = new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver);
      again.transmit(new Uint8Array(60), 0, 60, 0);
      again.flush();
      again.reset();
      assertEquals(device.service({ transmit: () => true, drop: () => {} }), 0);
      new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver).close();
    }
  }
});

Deno.test("a device that asks for a reset tells the driver by an interrupt", () => {
  const host = new LocalHost();
  const settings = g.settingsFrom(new OptionValues(gve.options, {}));
  const device = new g.GveDevice(host.space, settings.device, (vector) => driver.interrupt(vector));
  const driver: g.GveDriver = new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver);
  assertEquals(driver.resetWanted, false);
  device.setLink(false);
  assertEquals(driver.resetWanted, false);
  device.requestReset();
  assertEquals(driver.resetWanted, true);
});

Deno.test("the device sees the driver's version, and the link's speed is told", () => {
  const host = new LocalHost();
  const settings = g.settingsFrom(new OptionValues(gve.options, {}));
  const device = new g.GveDevice(host.space, settings.device, () => {});
  const driver = new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver);
  assertEquals(device.inspect()["driver_version"], "GVE-ringpipe\n");
  assertEquals(driver.inspect()["link_speed"], 100_000_000_000);
});
