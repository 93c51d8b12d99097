/**
 * The device's side of CONFIGURE_RSS and QUERY_RSS.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Values } from "../../core/layout.ts";
import { RSS_ALGORITHM, RSS_LUT_SIZE, STATUS } from "./constants.ts";
import { gve_query_rss_descriptor, gve_rss_lut_entry } from "./layout_records.ts";
import { ALL_HASH_TYPES, type FlowSteering, RSS_KEY_SIZE } from "./rss.ts";

const { TOEPLITZ } = RSS_ALGORITHM;

/** Carries out the commands. Each answers with a status. */
export class RssCommands {
  readonly #space: AddressSpace;
  readonly #steering: FlowSteering;
  readonly #queues: number;

  /** Changes and tells `steering`, whose table may name receive queues below `queues`. */
  constructor(space: AddressSpace, steering: FlowSteering, queues: number) {
    this.#space = space;
    this.#steering = steering;
    this.#queues = queues;
  }

  /** CONFIGURE_RSS: nothing changes unless all of it is right. */
  configure(values: Values): number {
    const keyAddress = Number(values["hash_key_addr"]);
    const tableAddress = Number(values["hash_lut_addr"]);
    const types = Number(values["hash_types"]);
    if (Number(values["hash_alg"]) > TOEPLITZ || (types & ~ALL_HASH_TYPES) !== 0) {
      return STATUS.INVALID_ARGUMENT;
    }
    const key = new Uint8Array(RSS_KEY_SIZE);
    const table = new Uint8Array(RSS_LUT_SIZE * gve_rss_lut_entry.size);
    if (keyAddress !== 0) {
      if (values["hash_key_size"] !== RSS_KEY_SIZE || !this.#space.read(keyAddress, key)) {
        return STATUS.INVALID_ARGUMENT;
      }
    }
    const view = new DataView(table.buffer);
    if (tableAddress !== 0) {
      if (values["hash_lut_size"] !== RSS_LUT_SIZE || !this.#space.read(tableAddress, table)) {
        return STATUS.INVALID_ARGUMENT;
      }
      for (let i = 0; i < RSS_LUT_SIZE; i++) {
        if (view.getUint32(i * gve_rss_lut_entry.size) >= this.#queues) return STATUS.OUT_OF_RANGE;
      }
    }
    const steering = this.#steering;
    if (keyAddress !== 0) steering.setKey(key);
    if (tableAddress !== 0) {
      steering.table.forEach((_, i, all) => all[i] = view.getUint32(i * gve_rss_lut_entry.size));
    }
    if (types !== 0) steering.setTypes(types);
    return STATUS.PASSED;
  }

  /** QUERY_RSS: writes what holds. */
  query(values: Values): number {
    const header = gve_query_rss_descriptor;
    const length = header.size + RSS_KEY_SIZE + RSS_LUT_SIZE * gve_rss_lut_entry.size;
    if (Number(values["available_length"]) < length) return STATUS.OUT_OF_RANGE;
    const bytes = new Uint8Array(length);
    const { hashTypes, key, table } = this.#steering;
    bytes.set(header.encode({ total_length: length, hash_types: hashTypes, hash_alg: TOEPLITZ }));
    bytes.set(key, header.size);
    const view = new DataView(bytes.buffer, header.size + RSS_KEY_SIZE);
    table.forEach((queue, i) => view.setUint32(i * gve_rss_lut_entry.size, queue));
    const written = this.#space.write(Number(values["rss_descriptor_addr"]), bytes);
    return written ? STATUS.PASSED : STATUS.INVALID_ARGUMENT;
  }
}
