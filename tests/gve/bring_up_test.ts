import { assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { read32, swap32 } from "../../plugins/gve/registers.ts";

const DOORBELL = g.gve_registers.offsetOf("adminq_doorbell");
const PFN = g.gve_registers.offsetOf("adminq_pfn");
const QUEUES = ["max_tx_queues", "max_rx_queues"].map((name) => g.gve_registers.offsetOf(name));
const NAMES = Object.fromEntries(Object.entries(g.OPCODE).map(([name, opcode]) => [opcode, name]));

/** A driver that came up: commands in groups of those that went with one doorbell, and what BAR2 was told. */
function bringUp(options: Record<string, string>, limit: (value: number) => number = (value) => value) {
  const host = new LocalHost();
  const settings = g.settingsFrom(new OptionValues(gve.options, { revision: "0", ...options }));
  const device = new g.GveDevice(host.space, settings.device, (vector) => vectors.push(vector));
  const vectors: number[] = [];
  const commands: string[] = [];
  let done = 0;
  const bar0 = {
    read(offset: number, width: number) {
      const value = device.bar0.read(offset, width);
      return QUEUES.includes(offset) ? swap32(limit(swap32(value))) : value;
    },
    write(offset: number, width: number, value: number) {
      device.bar0.write(offset, width, value);
      if (offset !== DOORBELL) return;
      const queue = host.dma.region.offsetOf(read32(device.bar0, PFN) * 4096);
      const group = [];
      for (const posted = swap32(value); done < posted; done++) {
        const slot = queue + (done % 64) * 64;
        const command = g.gve_adminq_command.decode(host.memory.bytes.subarray(slot, slot + 64));
        group.push(NAMES[Number(command["opcode"])]);
      }
      commands.push(group.join("+"));
    },
  };
  const doorbells: number[] = [];
  const bar2 = {
    read: (offset: number, width: number) => device.bar2.read(offset, width),
    write(offset: number, width: number, value: number) {
      doorbells.push(value);
      device.bar2.write(offset, width, value);
    },
  };
  const bus = { bar0, bar2, bar2Size: device.bar2Size };
  const driver = new g.GveDriver(bus, host.dma, host.space, host.clock, settings.driver);
  return { driver, device, commands, doorbells, vectors };
}

Deno.test("Linux registers all page lists, then creates all transmit queues, then all receive queues", () => {
  const start = ["VERIFY_DRIVER_COMPATIBILITY", "DESCRIBE_DEVICE", "CONFIGURE_DEVICE_RESOURCES"];
  const optional = ["REPORT_STATS", "REPORT_LINK_SPEED"];
  const lists = Array.from({ length: 4 }, () => "REGISTER_PAGE_LIST");
  const queues = ["CREATE_TX_QUEUE+CREATE_TX_QUEUE", "CREATE_RX_QUEUE+CREATE_RX_QUEUE"];
  const wanted: Record<string, string[]> = {
    "gqi-qpl": [...start, ...optional, "CONFIGURE_RSS", ...lists, ...queues],
    "gqi-rda": [...start, ...optional, "CONFIGURE_RSS", ...queues],
    "dqo-qpl": [...start, "GET_PTYPE_MAP", ...optional, "CONFIGURE_RSS", ...lists, ...queues],
    "dqo-rda": [...start, "GET_PTYPE_MAP", ...optional, "CONFIGURE_RSS", ...queues],
  };
  for (const [format, commands] of Object.entries(wanted)) {
    const up = bringUp({ format, queues: "2" });
    assertEquals(up.commands, commands, format);
    up.commands.length = 0;
    up.driver.close();
    assertEquals(up.commands, [
      "DESTROY_TX_QUEUE+DESTROY_TX_QUEUE",
      "DESTROY_RX_QUEUE+DESTROY_RX_QUEUE",
      ...format.endsWith("qpl") ? lists.map(() => "UNREGISTER_PAGE_LIST") : [],
      "REPORT_STATS",
      "DECONFIGURE_DEVICE_RESOURCES",
    ], format);
  }
});

Deno.test("iPXE asks for what it needs and no more, and closes what it opened last first", () => {
  for (const format of ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"]) {
    const { driver, commands } = bringUp({ format, driver: "ipxe" });
    const each = (command: string) => format.endsWith("qpl") ? [command, command] : [];
    assertEquals(commands, [
      "DESCRIBE_DEVICE",
      "CONFIGURE_DEVICE_RESOURCES",
      ...each("REGISTER_PAGE_LIST"),
      "CREATE_TX_QUEUE",
      "CREATE_RX_QUEUE",
    ], format);
    commands.length = 0;
    driver.close();
    assertEquals(commands, [
      "DESTROY_RX_QUEUE",
      "DESTROY_TX_QUEUE",
      ...each("UNREGISTER_PAGE_LIST"),
      "DECONFIGURE_DEVICE_RESOURCES",
    ], format);
  }
});

Deno.test("interrupts are armed last: GQI's with 0, DQO's with 50 us to transmit and 20 us to receive", () => {
  for (const [format, tx, rx] of [["gqi-rda", 0, 0], ["dqo-rda", 0x321, 0x141]] as const) {
    const { doorbells } = bringUp({ format, queues: "2" });
    assertEquals(doorbells.slice(-4), [tx, tx, rx, rx], format);
  }
});

Deno.test("the driver takes no more queues than the device has", () => {
  for (const [most, wanted] of [[3, 3], [8, 4], [0, 1]] as const) {
    const { driver, device } = bringUp({ format: "gqi-qpl", queues: "4" }, () => most);
    assertEquals(Object.keys(device.inspect()["tx"] as object).length, wanted);
    assertEquals(Object.keys(driver.inspect()["rx"] as object).length, wanted);
  }
});

Deno.test("the device tells by its own vector that the link went down or up, or that it wants a reset", () => {
  for (const format of ["gqi-qpl", "dqo-rda"]) {
    const { driver, device, vectors } = bringUp({ format, queues: "2" });
    const told = () => {
      vectors.splice(0).forEach((vector) => driver.interrupt(vector));
      return [driver.inspect()["link_up"], driver.resetWanted];
    };
    assertEquals(told(), [true, false], format);
    device.setLink(false);
    assertEquals(vectors, [4], `${format}: behind those of four queues`);
    assertEquals(told(), [false, false], format);
    device.setLink(true);
    device.requestReset();
    assertEquals(told(), [true, true], format);
  }
});
