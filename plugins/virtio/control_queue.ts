/**
 * The control queue: commands by which the driver sets queue pairs, filters, addresses and the hash.
 *
 * Virtio 1.4, 5.1.6.5.
 *
 * @module
 */
import type { DeviceQueue } from "./device_queue.ts";
import { type Feature, hasFeature } from "./features.ts";
import {
  CTRL_CLASS,
  CTRL_MAC,
  CTRL_MQ,
  CTRL_RX_COMMANDS,
  CTRL_VLAN,
  virtio_net_ctrl_hdr,
  virtio_net_ctrl_mac,
  virtio_net_ctrl_mq,
  VIRTIO_NET_ERR,
  virtio_net_hash_config,
  VIRTIO_NET_OK,
  virtio_net_rss_config_hdr,
  virtio_net_rss_config_trailer,
} from "./layout.ts";
import { ALL_HASH_TYPES, HASH_KEY_LENGTH, type ReceiveHash } from "./receive_hash.ts";
import { RSS_TABLE_LENGTH, Steering } from "./steering.ts";

const MAC_BYTES = 6;
/** Longest command that is read: two MAC tables of 2048 addresses fit. */
const LONGEST_COMMAND = 32768;
const MQ_PAIRS = virtio_net_ctrl_mq.offsetOf("virtqueue_pairs");
const RSS_MASK = virtio_net_rss_config_hdr.offsetOf("indirection_table_mask");
/** What HASH_CONFIG has where RSS_CONFIG has its table: zeros. */
const RESERVED = [0, 1, 2, 3].map((i) => `reserved[${i}]`);

/** The device's side of the control queue, and the state that commands change. */
export class ControlQueue {
  /** Hardware address, 6 bytes. */
  mac: readonly number[];
  /** Which receive queue a frame goes to. */
  readonly steering: Steering;
  /** Receive modes that are on. */
  readonly modes: Set<string> = new Set();
  /** VLANs let through by the filter. */
  readonly vlans: Set<number> = new Set();
  /** Addresses in the unicast and the multicast table. */
  macTable: readonly [readonly number[][], readonly number[][]] = [[], []];
  /** Commands carried out. */
  commands = 0;

  readonly #queue: DeviceQueue;
  readonly #hash: ReceiveHash;
  readonly #initialMac: readonly number[];
  #features = 0n;

  /** Connects the queue with the hash that it configures. */
  constructor(queue: DeviceQueue, hash: ReceiveHash, maxPairs: number, mac: readonly number[]) {
    this.#queue = queue;
    this.#hash = hash;
    this.steering = new Steering(maxPairs);
    this.#initialMac = this.mac = mac;
  }

  /** Pairs in use. A host that learns of them elsewhere sets them here. */
  get pairs(): number {
    return this.steering.pairs;
  }
  set pairs(pairs: number) {
    this.steering.setPairs(pairs);
  }

  /** Forgets what commands have set. */
  reset(): void {
    this.mac = this.#initialMac;
    this.steering.reset();
    this.modes.clear();
    this.vlans.clear();
    this.macTable = [[], []];
  }

  /** Takes over the negotiated features. */
  negotiated(features: bigint): void {
    this.#features = features;
    this.#hash.reset(hasFeature(features, "HASH_REPORT"));
  }

  /**
   * Carries out all commands that wait.
   *
   * @returns Whether the driver wants an interrupt.
   * @throws {RingFault} If a chain is bad or has no room for the ack.
   */
  service(): boolean {
    const queue = this.#queue;
    queue.refresh();
    do {
      while (queue.pop()) {
        const at = queue.availIndex;
        if (queue.writableBytes === 0) queue.fault("control-without-ack", at);
        const ack = new Uint8Array([this.#execute(this.#read()) ? VIRTIO_NET_OK : VIRTIO_NET_ERR]);
        const address = queue.addresses[queue.readable]!;
        if (!queue.buffers.write(address, ack)) queue.fault("bad-address", at, { address, length: 1 });
        queue.push(queue.head, 1);
      }
    } while (queue.enableNotify());
    return queue.publish();
  }

  /** The readable part of the chain, in one piece. */
  #read(): Uint8Array {
    const queue = this.#queue;
    const command = new Uint8Array(Math.min(queue.readableBytes, LONGEST_COMMAND));
    let filled = 0;
    for (let i = 0; i < queue.readable && filled < command.length; i++) {
      const part = command.subarray(filled, filled + queue.lengths[i]!);
      if (!queue.buffers.read(queue.addresses[i]!, part)) {
        queue.fault("bad-address", queue.availIndex, { address: queue.addresses[i]!, length: part.length });
      }
      filled += part.length;
    }
    return command;
  }

  /** Carries out one command. Returns whether it was one that the device knows, with data that fits. */
  #execute(command: Uint8Array): boolean {
    if (command.length < virtio_net_ctrl_hdr.size) return false;
    const { class: type, cmd } = virtio_net_ctrl_hdr.decode(command);
    const data = command.subarray(virtio_net_ctrl_hdr.size);
    const done = this.#dispatch(type as number, cmd as number, data);
    if (done) this.commands++;
    return done;
  }

  #dispatch(type: number, cmd: number, data: Uint8Array): boolean {
    const has = (feature: Feature) => hasFeature(this.#features, feature);
    switch (type) {
      case CTRL_CLASS.RX:
        return has(cmd < 2 ? "CTRL_RX" : "CTRL_RX_EXTRA") && this.#setMode(cmd, data);
      case CTRL_CLASS.MAC:
        if (cmd === CTRL_MAC.TABLE_SET) return has("CTRL_RX") && this.#setMacTable(data);
        return cmd === CTRL_MAC.ADDR_SET && has("CTRL_MAC_ADDR") && this.#setMac(data);
      case CTRL_CLASS.VLAN:
        return has("CTRL_VLAN") && this.#setVlan(cmd, data);
      case CTRL_CLASS.ANNOUNCE:
        return has("GUEST_ANNOUNCE") && cmd === 0;
      case CTRL_CLASS.MQ:
        if (cmd === CTRL_MQ.VQ_PAIRS_SET) return has("MQ") && this.#setPairs(data);
        if (cmd === CTRL_MQ.RSS_CONFIG) return has("RSS") && this.#setRss(data);
        return cmd === CTRL_MQ.HASH_CONFIG && has("HASH_REPORT") && this.#setHash(data);
      default:
        return false;
    }
  }

  #setMode(cmd: number, data: Uint8Array): boolean {
    const mode = CTRL_RX_COMMANDS[cmd];
    if (mode === undefined || data.length < 1) return false;
    if (data[0]) this.modes.add(mode);
    else this.modes.delete(mode);
    return true;
  }

  #setMac(data: Uint8Array): boolean {
    if (data.length < MAC_BYTES) return false;
    this.mac = Array.from(data.subarray(0, MAC_BYTES));
    return true;
  }

  #setMacTable(data: Uint8Array): boolean {
    const tables: number[][][] = [];
    let at = 0;
    for (let table = 0; table < 2; table++) {
      if (data.length - at < virtio_net_ctrl_mac.size) return false;
      const entries = virtio_net_ctrl_mac.decode(data, at, virtio_net_ctrl_mac.size).entries as number;
      at += virtio_net_ctrl_mac.size;
      if (entries * MAC_BYTES > data.length - at) return false;
      tables.push(Array.from({ length: entries }, (_, i) => {
        const start = at + i * MAC_BYTES;
        return Array.from(data.subarray(start, start + MAC_BYTES));
      }));
      at += entries * MAC_BYTES;
    }
    this.macTable = [tables[0]!, tables[1]!];
    return true;
  }

  #setVlan(cmd: number, data: Uint8Array): boolean {
    if (data.length < 2 || cmd > CTRL_VLAN.DEL) return false;
    const vlan = data[0]! | data[1]! << 8;
    if (vlan > 4095) return false;
    if (cmd === CTRL_VLAN.ADD) this.vlans.add(vlan);
    else this.vlans.delete(vlan);
    return true;
  }

  #setPairs(data: Uint8Array): boolean {
    if (data.length < virtio_net_ctrl_mq.size) return false;
    if (!this.steering.setPairs(data[MQ_PAIRS]! | data[MQ_PAIRS + 1]! << 8)) return false;
    // Automatic steering does not go by what RSS_CONFIG may have said of hashes before.
    if (!hasFeature(this.#features, "HASH_REPORT")) this.#hash.reset(false);
    return true;
  }

  #setHash(data: Uint8Array): boolean {
    const { size } = virtio_net_hash_config;
    if (data.length < size) return false;
    const { hash_types, hash_key_length, ...reserved } = virtio_net_hash_config.decode(data, 0, size);
    if (RESERVED.some((name) => reserved[name] !== 0)) return false;
    const key = keyOf(hash_types as number, hash_key_length as number, data.subarray(size));
    if (key === undefined) return false;
    this.#hash.configure(hash_types as number, key);
    return true;
  }

  #setRss(data: Uint8Array): boolean {
    if (data.length < virtio_net_rss_config_hdr.size) return false;
    const mask = data[RSS_MASK]! | data[RSS_MASK + 1]! << 8;
    const head = virtio_net_rss_config_hdr.size + (mask + 1) * virtio_net_rss_config_hdr.stride;
    const size = head + virtio_net_rss_config_trailer.size;
    if (mask >= RSS_TABLE_LENGTH || data.length < size) return false;
    const { hash_types, unclassified_queue, ...entries } = virtio_net_rss_config_hdr.decode(data, 0, head);
    const { max_tx_vq, hash_key_length } = virtio_net_rss_config_trailer.decode(data, head, size - head);
    const key = keyOf(hash_types as number, hash_key_length as number, data.subarray(size));
    const steered = key !== undefined && this.steering.setTable({
      queues: Array.from({ length: mask + 1 }, (_, i) => entries[`indirection_table[${i}]`] as number),
      unclassified: unclassified_queue as number,
      pairs: max_tx_vq as number,
    });
    if (steered) this.#hash.configure(hash_types as number, key);
    return steered;
  }
}

/** The hash key of a command, or nothing if the device cannot take it: `data` is what follows its length. */
function keyOf(types: number, length: number, data: Uint8Array): Uint8Array | undefined {
  if ((types & ~ALL_HASH_TYPES) !== 0 || length > HASH_KEY_LENGTH || data.length < length) return undefined;
  // Without a key nothing can be hashed; with no type nothing need be.
  return length === 0 && types !== 0 ? undefined : data.subarray(0, length);
}
