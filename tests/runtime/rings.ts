/**
 * What is bundled and run elsewhere than in Deno: frames through every built-in ring.
 *
 * @module
 */
import { builtInNames, loadBackend, type LocalHostOptions, RingPair } from "../../mod.ts";

const SIZES = [14, 60, 64, 577, 1500];
const FRAMES = 300;

/** Sends frames through each ring and says, by its name, how many came back as they were. */
export async function run(host: LocalHostOptions = {}): Promise<Record<string, number>> {
  const results: Record<string, number> = {};
  for (const name of builtInNames) {
    const pair = new RingPair(await loadBackend(name), {}, host);
    let back = 0;
    for (let number = 0; number < FRAMES; number++) {
      const frame = new Uint8Array(SIZES[number % SIZES.length]!).fill(number);
      pair.transmit(frame);
      pair.service();
      const [received] = pair.receive();
      if (received?.length === frame.length && received.every((byte, i) => byte === frame[i])) back++;
    }
    results[name] = back;
  }
  return results;
}
