/**
 * The backend's hash configuration: what the control messages set, and how a frame finds its receive queue by
 * it.
 *
 * @module
 */
import {
  flowHash,
  flowHashType,
  type FlowParser,
  HASH_IPV4,
  HASH_IPV6,
  HASH_TCPV4,
  HASH_TCPV6,
  hashTypeBit,
} from "../../core/flow.ts";
import type { Memory } from "../../core/memory.ts";
import { ToeplitzKey } from "../../core/toeplitz.ts";
import { XEN_NETIF_CTRL_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_TYPE, XEN_NETIF_CTRL_STATUS } from "./layout.ts";

/** Longest key, in bytes. */
export const HASH_KEY_SIZE: number = 40;
/** Entries of the mapping table at most. */
export const HASH_MAPPING_SIZE: number = 128;

/** All hash types there are, as a mask for control messages. */
export const HASH_FLAGS: number = Object.values(XEN_NETIF_CTRL_HASH_TYPE)
  .reduce((mask, bit) => mask | (1 << bit), 0);

/** What the frame's parser calls the hash types of the network interface, by their bit number. */
const FLOW_TYPES: readonly number[] = [HASH_IPV4, HASH_TCPV4, HASH_IPV6, HASH_TCPV6];

const { SUCCESS, NOT_SUPPORTED, INVALID_PARAMETER } = XEN_NETIF_CTRL_STATUS;

/** Hash algorithm, types, key and mapping of one interface. */
export class HashConfiguration {
  /** After {@linkcode HashConfiguration.hash}: the frame's hash. */
  value = 0;
  /** After {@linkcode HashConfiguration.hash}: bit number of its type, or -1 if the frame has none. */
  type: number = -1;
  readonly #queues: number;
  #algorithm: number = XEN_NETIF_CTRL_HASH_ALGORITHM.NONE;
  #flags = 0;
  /** The enabled types as the parser numbers them. */
  #mask = 0;
  /** Undefined stands for a key of zeros, with which every hash is 0. */
  #key: ToeplitzKey | undefined;
  #mapping = new Uint32Array(0);

  /**
   * Nothing configured.
   *
   * @param queues How many queues there are.
   */
  constructor(queues: number) {
    this.#queues = queues;
  }

  /** Whether frames are hashed. */
  get enabled(): boolean {
    return this.#algorithm !== XEN_NETIF_CTRL_HASH_ALGORITHM.NONE;
  }

  /** What GET_HASH_FLAGS answers: a status. */
  getFlags(): number {
    return this.enabled ? SUCCESS : NOT_SUPPORTED;
  }

  /** SET_HASH_FLAGS. */
  setFlags(mask: number): number {
    if ((mask & ~HASH_FLAGS) !== 0 || !this.enabled) return INVALID_PARAMETER;
    this.#flags = mask;
    this.#mask = 0;
    FLOW_TYPES.forEach((type, bit) => {
      if ((mask & (1 << bit)) !== 0) this.#mask |= hashTypeBit(type);
    });
    return SUCCESS;
  }

  /** SET_HASH_ALGORITHM. */
  setAlgorithm(algorithm: number): number {
    if (!Object.values(XEN_NETIF_CTRL_HASH_ALGORITHM).includes(algorithm)) return INVALID_PARAMETER;
    this.#algorithm = algorithm;
    return SUCCESS;
  }

  /** SET_HASH_KEY, with the key's bytes, at most {@linkcode HASH_KEY_SIZE}; behind them it is zero. */
  setKey(key: Uint8Array): number {
    this.#key = new ToeplitzKey(key);
    return SUCCESS;
  }

  /** SET_HASH_MAPPING_SIZE: the table gets that many entries, all for queue 0. */
  setMappingSize(entries: number): number {
    if (entries > HASH_MAPPING_SIZE) return INVALID_PARAMETER;
    this.#mapping = new Uint32Array(entries);
    return SUCCESS;
  }

  /** Whether SET_HASH_MAPPING may write `entries` entries from `first` on. */
  holdsMapping(first: number, entries: number): boolean {
    return first + entries <= this.#mapping.length;
  }

  /** SET_HASH_MAPPING, with the entries in a private copy. All are written or none. */
  setMapping(list: Memory, first: number, entries: number): number {
    for (let i = 0; i < entries; i++) {
      if (list.view.getUint32(4 * i, true) >= this.#queues) return INVALID_PARAMETER;
    }
    for (let i = 0; i < entries; i++) this.#mapping[first + i] = list.view.getUint32(4 * i, true);
    return SUCCESS;
  }

  /** Hashes the frame that a parser has seen: sets `value` and `type`. */
  hash(flow: FlowParser): void {
    const type = flowHashType(flow, this.#mask);
    this.type = FLOW_TYPES.indexOf(type);
    this.value = this.#key === undefined ? 0 : flowHash(this.#key, flow, type);
  }

  /** The receive queue for the frame hashed last. */
  queue(): number {
    const size = this.#mapping.length;
    return size === 0 ? this.value % this.#queues : this.#mapping[this.value % size]!;
  }

  /** For a person to look at. */
  inspect(): Record<string, unknown> {
    return { algorithm: this.#algorithm, flags: this.#flags, mapping: Array.from(this.#mapping) };
  }
}
