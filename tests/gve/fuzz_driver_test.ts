import { assert, assertInstanceOf } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import { FrameBatch } from "../../core/frame_batch.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import type { FrameSink, Wire } from "../../core/plugin.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { Random } from "../random.ts";
import { inBatches } from "./both_ways.ts";

const PAGE = 4096;
const FORMATS = ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"];
/** Where rings, counters and lists are: behind them there are pages. */
const SHARED = 110 * PAGE;
const MEMORY = 32 * 1024 * 1024;

/** A driver, and a device that now and then writes what it should not. Returns frames received and whether it came to a fault. */
function run(format: string, seed: number): [frames: number, fault: boolean] {
  const random = new Random(seed);
  const options = {
    format,
    "profile": random.pick(["strict", "linux"]),
    "driver": random.pick(["linux", "linux", "ipxe"]),
    "copybreak": random.pick([0, 256, 65535]),
    "hold": random.pick([0, 20, 600]),
    "tx-ring": 256,
    "rx-ring": 64,
    "qpl-pages": 64,
  };
  const host = new LocalHost({ dmaSize: MEMORY, captureSize: 64 * PAGE });
  const settings = g.settingsFrom(new OptionValues(gve.options, options));
  const device = new g.GveDevice(host.space, settings.device, (vector) => driver.interrupt(vector));
  const driver: g.GveDriver = new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver);
  const { bytes } = host.memory;
  const wire: Wire = {
    transmit: (frame: Frame) => device.deliver(frame) >= -2,
    transmitBatch: (frames) => device.deliverBatch(frames, 0),
    transmitPieces: (frames) => device.deliverPieces(frames),
    drop: () => {},
  };
  let received = 0;
  const sink: FrameSink = {
    piece(_queue, of, offset, length, more) {
      assert(of === bytes && offset >= 0 && length >= 0 && offset + length <= bytes.length);
      if (!more) received++;
    },
  };
  const batch = new FrameBatch();
  batch.bytes = bytes;
  try {
    for (let step = 0; step < 60; step++) {
      batch.count = random.between(1, 30);
      for (let i = 0; i < batch.count; i++) {
        batch.offsets[i] = host.captureOffset + i * 2 * PAGE;
        batch.lengths[i] = random.between(1, random.pick([64, 300, 1500, 8000]));
      }
      for (let next = driver.transmitBatch(batch, 0, 0); next < batch.count; next++) {
        driver.transmit(bytes, batch.offsets[next]!, batch.lengths[next]!, 0);
      }
      driver.flush();
      device.service(wire);
      // What the device has just written is what counts most: some words of it are changed.
      for (let i = random.below(seed % 3 * 8); i > 0; i--) {
        let at = random.below(SHARED);
        while (at < SHARED && bytes[at] === 0) at++;
        bytes[at] = random.chance(0.5) ? bytes[at]! ^ (1 << random.below(8)) : random.u32();
      }
      driver.receive(random.chance(0.7) ? inBatches(sink) : sink);
    }
  } catch (error) {
    assertInstanceOf(error, RingFault, `${JSON.stringify(options)}, seed ${seed}`);
    return [received, true];
  }
  return [received, false];
}

for (const format of FORMATS) {
  Deno.test(`whatever a device writes, the driver raises faults and nothing else: ${format}`, () => {
    let frames = 0;
    let faults = 0;
    for (let seed = 0; seed < 45; seed++) {
      const [received, fault] = run(format, seed);
      frames += received;
      if (fault) faults++;
    }
    assert(frames > 5000 && faults > 5, `${frames} frames, ${faults} faults`);
  });
}
