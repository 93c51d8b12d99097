/**
 * A ring that is none: frames wait in arrays, and come back by way of the driver's memory. It has what makes life hard
 * for a run loop (several queues, pieces, refusals, drops, faults), and no protocol.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import { Frame } from "../../core/frame.ts";
import type { OptionSpec, OptionValues } from "../../core/options.ts";
import {
  type DeviceHalf,
  type DriverHalf,
  type FrameSink,
  FULL,
  type Host,
  type Link,
  OVERSIZE,
  type Plugin,
  RUNT,
  type Wire,
} from "../../core/plugin.ts";

const SLOT_SIZE = 16 * 1024 * 1024;

const options: readonly OptionSpec[] = [
  { name: "queues", type: "integer", default: 1, min: 1, max: 8, meaning: "Queues, used in turn" },
  { name: "piece", type: "integer", default: SLOT_SIZE, min: 1, max: SLOT_SIZE, meaning: "Bytes per piece" },
  { name: "largest", type: "integer", default: SLOT_SIZE, min: 0, max: SLOT_SIZE, meaning: "Largest frame" },
  { name: "smallest", type: "integer", default: 0, min: 0, max: 65536, meaning: "Smallest frame" },
  {
    name: "drop-every",
    type: "integer",
    default: 0,
    min: 0,
    max: 65536,
    meaning: "The device drops each Nth",
  },
  { name: "fault-after", type: "integer", default: 0, min: 0, max: 65536, meaning: "Stops behind N frames" },
  {
    name: "bend",
    type: "choice",
    choices: ["no", "longer", "shorter"],
    default: "no",
    meaning: "Bends the length of each frame by one byte",
  },
  { name: "scribble", type: "flag", default: false, meaning: "Overwrites all headroom" },
];

/** Frames between the halves of one queue. */
class Queue {
  readonly sent: number[] = [];
  readonly received: number[] = [];
}

function open(values: OptionValues, host: Host): Link {
  const { memory } = host.dma;
  const slots = host.dma.allocate(2 * SLOT_SIZE, 4096).offset;
  const queues = Array.from({ length: values.integer("queues") }, () => new Queue());
  const [piece, largest, smallest] = ["piece", "largest", "smallest"].map((name) => values.integer(name));
  const [every, faultAfter] = ["drop-every", "fault-after"].map((name) => values.integer(name));
  const bend = ["shorter", "no", "longer"].indexOf(values.text("bend")) - 1;
  const scribble = values.flag("scribble");
  const frame = new Frame();
  let turn = 0;
  let seen = 0;
  let free = slots;
  let last: Queue = queues[0]!;

  const driver: DriverHalf = {
    transmit(bytes, offset, length, headroom) {
      if (length > largest!) return OVERSIZE;
      if (length < smallest!) return RUNT;
      const at = turn % queues.length;
      if (queues[at]!.sent.length >= 3 * 64) return FULL;
      turn++;
      if (bytes !== memory.bytes) throw new TypeError("the frame lies elsewhere");
      if (scribble) bytes.fill(0xee, offset - headroom, offset);
      queues[at]!.sent.push(offset, length, turn);
      return at;
    },
    flush() {},
    receive(sink: FrameSink) {
      let moved = 0;
      // Backwards, so that what was sent first does not come first.
      for (let queue = queues.length - 1; queue >= 0; queue--) {
        const { received } = queues[queue]!;
        for (let i = 0; i < received.length; i += 2, moved++) {
          let offset = received[i]!;
          let left = received[i + 1]!;
          do {
            const length = Math.min(left, piece!);
            left -= length;
            sink.piece(queue, memory.bytes, offset, length, left > 0);
            offset += length;
          } while (left > 0);
        }
        received.length = 0;
      }
      free = slots;
      return moved;
    },
    counters: () => ({ "tx.frames": turn }),
    inspect: () => ({}),
  };

  const device: DeviceHalf = {
    service(wire: Wire) {
      let moved = 0;
      queues.forEach((queue, number) => {
        let done = 0;
        for (; done < queue.sent.length; done += 3, moved++) {
          if (faultAfter! > 0 && seen >= faultAfter!) throw new RingFault("device", "tx", "told-to", seen);
          seen++;
          if (every! > 0 && queue.sent[done + 2]! % every! === 0) {
            wire.drop(number, "told-to");
            continue;
          }
          frame.clear();
          frame.push(memory.bytes, queue.sent[done]!, queue.sent[done + 1]!);
          last = queue;
          if (!wire.transmit(frame, number)) break;
        }
        queue.sent.splice(0, done);
      });
      return moved;
    },
    deliver(arriving: Frame) {
      if (free + arriving.length > slots + 2 * SLOT_SIZE - 8) return -1;
      arriving.copyTo(memory, free, 0, arriving.length);
      last.received.push(free, Math.max(0, arriving.length + bend));
      free += arriving.length;
      return queues.indexOf(last);
    },
    counters: () => ({ "rx.frames": seen }),
    inspect: () => ({}),
  };
  return { driver, device, batch: 32 };
}

/** The plugin. */
export const loopback: Plugin = {
  api: 1,
  name: "loopback",
  summary: "Frames wait in arrays",
  options,
  counters: [],
  structures: [],
  open,
};
