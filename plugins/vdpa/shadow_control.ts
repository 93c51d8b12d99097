/**
 * The shadowed control queue: commands of the guest pass through the hypervisor, which keeps those that make up the
 * device's state and gives them to the device again after a switch.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import { Memory } from "../../core/memory.ts";
import type { Doorbell } from "../../core/plugin.ts";
import { CTRL_CLASS, CTRL_VLAN, VIRTIO_NET_ERR, VIRTIO_NET_OK } from "../virtio/control_layout.ts";
import type { DeviceQueue } from "../virtio/device_queue.ts";
import { virtio_net_ctrl_hdr } from "../virtio/layout.ts";
import type { VdpaGuestFaultCode } from "./faults.ts";
import { VHOST_ACCESS } from "./layout.ts";
import type { OwnMemory, SharedPiece } from "./shadow_area.ts";
import type { ShadowRing } from "./shadow_ring.ts";

/** Longest command that is passed on: a page, as QEMU has it. */
export const LONGEST_COMMAND: number = 4096;

/** Bytes of a VLAN's number. */
const VLAN_BYTES = 2;

/** The commands that make up the state of a device, in the order in which they were given. */
export class CommandRecord {
  readonly #commands: Map<string, Uint8Array> = new Map();

  /** Keeps a command that the device has carried out; one that a later one replaces is forgotten. */
  add(command: Uint8Array): void {
    const { class: type, cmd } = virtio_net_ctrl_hdr.decode(command);
    if (type === CTRL_CLASS.ANNOUNCE) return;
    let key = `${type} ${cmd}`;
    if (type === CTRL_CLASS.VLAN) {
      // Adding and removing a VLAN concern that VLAN only, whatever follows its number.
      key = `${type} ${command.subarray(virtio_net_ctrl_hdr.size, virtio_net_ctrl_hdr.size + VLAN_BYTES)}`;
      this.#commands.delete(key);
      if (cmd !== CTRL_VLAN.ADD) return;
    }
    this.#commands.delete(key);
    this.#commands.set(key, command);
  }

  /** Forgets all: the guest has reset its device. */
  clear(): void {
    this.#commands.clear();
  }

  /** The commands to give to a device that was reset. */
  get commands(): readonly Uint8Array[] {
    return [...this.#commands.values()];
  }
}

/** The pages through which commands go to the device: one that it reads, one that it writes the ack to. */
export class CommandPages {
  /** Command page and ack page. */
  readonly pieces: readonly SharedPiece[];
  /** The bytes of the command page. */
  readonly command: Memory = new Memory(LONGEST_COMMAND);
  /** The bytes of the ack page that are used. */
  readonly ack: Memory = new Memory(1);

  /** Takes memory for both. */
  constructor(own: OwnMemory) {
    this.pieces = [
      own.share(this.command, 0, LONGEST_COMMAND, VHOST_ACCESS.RO),
      own.share(this.ack, 0, 1, VHOST_ACCESS.RW),
    ];
  }
}

/** How a {@linkcode ShadowControl} reaches both sides. */
export interface ShadowControlOptions {
  /** The guest's ring; started. */
  readonly guest: DeviceQueue;
  /** The shadow ring. */
  readonly ring: ShadowRing;
  /** The pages for commands. */
  readonly pages: CommandPages;
  /** Where the device sees the command page and the ack page. */
  readonly iovas: readonly [number, number];
  /** Rings the device's doorbell for a queue. */
  readonly kick: Doorbell;
  /** Interrupts the guest for a queue. */
  readonly interrupt: Doorbell;
  /** What was commanded so far. */
  readonly record: CommandRecord;
}

/** See the module. */
export class ShadowControl {
  readonly #options: ShadowControlOptions;
  /** Commands passed on. */
  relayed = 0;

  /** Connects two rings. */
  constructor(options: ShadowControlOptions) {
    this.#options = options;
  }

  /**
   * Passes on every command that the guest has made available, one after the other.
   *
   * @throws {RingFault} If a command cannot be read or answered, or the device does not answer.
   */
  forward(): void {
    const { guest, interrupt } = this.#options;
    guest.refresh();
    guest.disableNotify();
    do {
      while (guest.pop()) this.#relay();
    } while (guest.enableNotify());
    if (guest.publish()) interrupt(guest.index);
  }

  /** Commands are waited for, so nothing of them is ever left when the device interrupts. */
  reclaim(): void {}

  #relay(): void {
    const { guest, record } = this.#options;
    if (guest.writableBytes === 0) guest.fault("control-without-ack", guest.availIndex);
    const command = this.#read();
    const ack = command ? this.#execute(command) : VIRTIO_NET_ERR;
    if (command && ack === VIRTIO_NET_OK) record.add(command);
    const address = guest.addresses[guest.readable]!;
    if (!guest.buffers.write(address, new Uint8Array([ack]))) {
      guest.fault("bad-address", guest.availIndex, { address, length: 1 });
    }
    guest.push(guest.head, 1);
    this.relayed++;
  }

  /** The command in one piece; undefined if it is too short to be one, or too long to be passed on. */
  #read(): Uint8Array | undefined {
    const { guest } = this.#options;
    if (guest.readableBytes < virtio_net_ctrl_hdr.size || guest.readableBytes > LONGEST_COMMAND) {
      return undefined;
    }
    const command = new Uint8Array(guest.readableBytes);
    for (let i = 0, at = 0; i < guest.readable; at += guest.lengths[i++]!) {
      const part = command.subarray(at, at + guest.lengths[i]!);
      if (!guest.buffers.read(guest.addresses[i]!, part)) {
        guest.fault("bad-address", guest.availIndex, { address: guest.addresses[i]!, length: part.length });
      }
    }
    return command;
  }

  /** Has the device carry out a command. Returns its ack. */
  #execute(command: Uint8Array): number {
    const { guest, ring, pages, iovas, kick } = this.#options;
    pages.command.bytes.set(command);
    pages.ack.bytes[0] = VIRTIO_NET_ERR;
    ring.addChain(iovas, [command.length, 1], 2, 1, 0);
    if (ring.publish()) kick(guest.index);
    if (ring.collect() === 0) this.#fault("control-unanswered", ring.availIndex, {});
    return pages.ack.bytes[0]!;
  }

  /**
   * Gives a device that was reset all commands again.
   *
   * @returns How many there were.
   * @throws {RingFault} If it refuses one.
   */
  replay(): number {
    const { commands } = this.#options.record;
    commands.forEach((command, index) => {
      if (this.#execute(command) !== VIRTIO_NET_OK) {
        this.#fault("control-replay", index, { class: command[0]!, cmd: command[1]! });
      }
    });
    return commands.length;
  }

  /** Takes the shadow queue out. Returns where the next one goes on in the guest's available ring. */
  stop(): number {
    return this.#options.guest.stop();
  }

  #fault(code: VdpaGuestFaultCode, index: number, values: Record<string, number>): never {
    const { guest } = this.#options;
    guest.stop();
    throw new RingFault("device", guest.name, code, index, values);
  }
}
