import { assert, assertEquals } from "@std/assert";
import { AddressSpace } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { DriverQueue } from "../../plugins/virtio/driver_queue.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { Random } from "../random.ts";

/** Two sides of one ring, each of which sleeps until it is woken, and what they know. */
class Scene {
  readonly driver: DriverQueue;
  readonly device: DeviceQueue;
  readonly random: Random;
  /** Whether a kick, or an interrupt, is under way. */
  kick = false;
  interrupt = false;
  deviceAwake = false;
  driverAwake = false;
  /** Heads with the device, oldest first. */
  readonly held: number[] = [];
  sending = true;
  added = 0;
  returned = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    const memory = new Memory(1 << 16);
    const space = new AddressSpace();
    const dma = new DmaMemory(space, memory, 0, memory.size, 0x1000_0000);
    const size = this.random.pick([1, 2, 4, 16]);
    const names: Feature[] = [];
    if (this.random.chance(0.6)) names.push("EVENT_IDX");
    if (this.random.chance(0.3)) names.push("IN_ORDER");
    const features = featureMask(...names);
    this.driver = new DriverQueue("q", 0, dma, { size, legacy: false, features, longestChain: 2 });
    this.device = new DeviceQueue("q", 0, size, space, space, { coalesce: this.random.chance(0.5) });
    this.device.start(size, this.driver.areas, features);
    this.driver.enableInterrupts();
  }

  /** The driver adds some chains and may publish them. */
  send(): void {
    for (let i = this.sending ? this.random.below(4) : 0; i > 0 && this.driver.fits(1); i--) {
      this.driver.add(0x2000_0000, 64, false);
      this.added++;
    }
    if (this.driver.publish()) this.kick = true;
  }

  /** The device takes some chains; finding none, it asks for a kick and sleeps, unless one came in meanwhile. */
  take(): void {
    if (this.kick) {
      this.kick = false;
      this.deviceAwake = true;
      this.device.disableNotify();
    }
    if (!this.deviceAwake) return;
    for (let i = this.random.below(4); i > 0; i--) {
      if (this.device.pop()) {
        this.held.push(this.device.head);
        continue;
      }
      // The driver may come between the last look and the wish for a kick.
      if (this.random.chance(0.3)) this.send();
      this.deviceAwake = this.device.enableNotify();
    }
  }

  /** The device gives some chains back. */
  give(): void {
    for (let i = this.random.below(4); i > 0 && this.held.length > 0; i--) {
      this.device.push(this.held.shift()!, 0);
    }
    if (this.device.publish()) this.interrupt = true;
  }

  /** The driver takes some used chains; finding none, it asks for an interrupt and sleeps, unless one came in meanwhile. */
  reclaim(): void {
    if (this.interrupt) {
      this.interrupt = false;
      this.driverAwake = true;
      this.driver.disableInterrupts();
    }
    if (!this.driverAwake) return;
    for (let i = this.random.below(4); i > 0; i--) {
      if (!this.driver.nextUsed()) {
        if (this.random.chance(0.3)) this.give();
        this.driver.enableInterrupts();
        if (!this.driver.nextUsed()) {
          this.driverAwake = false;
          return;
        }
      }
      this.driver.release(this.driver.usedHead);
      this.returned++;
    }
  }

  /** Lets both sides work on, while nothing new is sent. */
  settle(): void {
    this.sending = false;
    for (let i = 0; i < 400; i++) {
      this.take();
      this.give();
      this.reclaim();
    }
  }

  step(): void {
    [() => this.send(), () => this.take(), () => this.give(), () => this.reclaim()][this.random.below(4)]!();
  }
}

Deno.test("no schedule loses a wake-up: all that is sent comes back, with kicks and interrupts alone", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const scene = new Scene(seed);
    for (let i = 0; i < 2000; i++) scene.step();
    // Nothing new is sent: what is inside must come out although nobody polls.
    if (scene.driver.publish()) scene.kick = true;
    scene.settle();
    assert(scene.added > 50);
    assertEquals(scene.returned, scene.added, `seed ${seed}`);
    const { driver, device } = scene;
    assertEquals([driver.counters.chains, device.counters.chains], [scene.added, scene.added]);
    assertEquals([driver.free, driver.outstanding], [driver.size, 0]);
  }
});

Deno.test("no schedule loses a wake-up where indices wrap", () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const scene = new Scene(seed * 1000);
    for (let i = 0; i < 3_000_000 && scene.added < 140_000; i++) scene.step();
    assert(scene.added >= 140_000, `seed ${seed}: stuck at ${scene.added}`);
    if (scene.driver.publish()) scene.kick = true;
    scene.settle();
    assertEquals(scene.returned, scene.added, `seed ${seed}`);
  }
});
