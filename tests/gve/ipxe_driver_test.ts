import { assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { swap32 } from "../../plugins/gve/registers.ts";

const PFN = g.gve_registers.offsetOf("adminq_pfn");
const BASE = g.gve_registers.offsetOf("adminq_base_address_lo");
const DRIVER_STATUS = g.gve_registers.offsetOf("driver_status");
const FORMATS = ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"];
/** As iPXE numbers its lists. */
const LISTS = [0x18ae5458, 0x18ae5258];

/** A driver on a bus that notes what is written to it. */
function bringUp(options: Record<string, string>) {
  const host = new LocalHost();
  const settings = g.settingsFrom(new OptionValues(gve.options, options));
  const device = new g.GveDevice(host.space, settings.device, (vector) => driver.interrupt(vector));
  const written: [offset: number, value: number][] = [];
  const bar0 = {
    read: (offset: number, width: number) => device.bar0.read(offset, width),
    write(offset: number, width: number, value: number) {
      if (width === 4) written.push([offset, swap32(value)]);
      device.bar0.write(offset, width, value);
    },
  };
  const doorbells: [word: number, value: number][] = [];
  const bar2 = {
    read: (offset: number, width: number) => device.bar2.read(offset, width),
    write(offset: number, width: number, value: number) {
      doorbells.push([offset / 4, value]);
      device.bar2.write(offset, width, value);
    },
  };
  const bus = { bar0, bar2, bar2Size: device.bar2Size };
  const driver: g.GveDriver = new g.GveDriver(bus, host.dma, host.space, host.clock, settings.driver);
  const to = (register: number) =>
    written.filter(([offset]) => offset === register).map(([, value]) => value);
  return { device, driver, to, doorbells };
}

Deno.test("iPXE writes both sets of admin queue registers, whichever the device has", () => {
  for (const revision of ["0", "1"]) {
    const { to } = bringUp({ format: "gqi-qpl", driver: "ipxe", revision });
    assertEquals(to(PFN).length, 1, revision);
    assertEquals(to(BASE), to(PFN).map((pfn) => pfn * 4096), revision);
    assertEquals(to(DRIVER_STATUS), [1], revision);
  }
  assertEquals(bringUp({ format: "gqi-qpl", revision: "1" }).to(PFN), []);
  assertEquals(bringUp({ format: "gqi-qpl", revision: "0" }).to(BASE), []);
});

Deno.test("iPXE registers its two lists where the format has lists", () => {
  for (const format of FORMATS) {
    const { device, driver } = bringUp({ format, driver: "ipxe" });
    const lists = device.inspect()["page_lists"] as { id: number; users: number }[];
    const wanted = format.endsWith("qpl") ? LISTS.map((id) => [id, 1]) : [];
    assertEquals(lists.map(({ id, users }) => [id, users]), wanted, format);
    driver.close();
    assertEquals(device.inspect()["page_lists"], [], format);
  }
});

Deno.test("iPXE asks neither for compatibility, packet types, statistics nor link speed", () => {
  for (const [kind, count] of [["linux", 1], ["ipxe", undefined]] as const) {
    const counters = bringUp({ format: "dqo-rda", driver: kind }).driver.counters();
    assertEquals(counters["admin.commands.verify_driver_compatibility"], count, kind);
    assertEquals(counters["admin.commands.get_ptype_map"], count, kind);
    assertEquals(counters["admin.commands.report_stats"], count, kind);
    assertEquals(counters["admin.commands.report_link_speed"], count, kind);
  }
});

Deno.test("iPXE prefers page lists and GQI", () => {
  const all = "gqi-qpl,gqi-rda,dqo-qpl,dqo-rda";
  const orders = { ipxe: [2, 1, 4, 3], linux: [3, 4, 1, 2] };
  for (const [driver, order] of Object.entries(orders)) {
    const offer = all.split(",");
    const chosen = [];
    for (let i = 0; i < 4; i++) {
      const { format } = bringUp({ offer: offer.join(), driver }).driver;
      chosen.push(format);
      offer.splice(offer.indexOf(["gqi-rda", "gqi-qpl", "dqo-rda", "dqo-qpl"][format - 1]!), 1);
    }
    assertEquals(chosen, order, driver);
  }
});

Deno.test("iPXE does not reset a device that was reset already", () => {
  for (const [kind, resets] of [["linux", 2], ["ipxe", 1]] as const) {
    const { driver, to } = bringUp({ format: "gqi-qpl", driver: kind, revision: "0" });
    driver.reset();
    driver.reset();
    assertEquals(to(PFN).filter((pfn) => pfn === 0).length, resets, kind);
  }
});

Deno.test("iPXE polls: GQI interrupts are masked for good, DQO's are armed after every poll", () => {
  for (const [format, values] of [["gqi-qpl", []], ["dqo-rda", [0x19, 0x19]]] as const) {
    const { device, driver, doorbells } = bringUp({ format, driver: "ipxe" });
    const interrupts = [16, 17];
    const armed = () => doorbells.splice(0).filter(([word]) => interrupts.includes(word));
    const first = format === "gqi-qpl" ? swap32(0x40000000) : 0x19;
    assertEquals(armed(), interrupts.map((word) => [word, first]), format);
    const sink = { piece: () => {} };
    for (let i = 0; i < 3; i++) {
      driver.transmit(new Uint8Array(60), 0, 60, 0);
      driver.flush();
      device.service({ transmit: (frame) => device.deliver(frame) >= 0, drop: () => {} });
      driver.receive(sink);
      assertEquals(armed(), values.map((value, i) => [interrupts[i]!, value]), format);
    }
    assertEquals(driver.counters()["rx.packets"], 3);
    assertEquals(device.counters()["device.interrupts"], format === "gqi-qpl" ? 0 : 6);
  }
});
