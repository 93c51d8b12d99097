/**
 * What the device tells of itself: descriptor and options.
 *
 * @module
 */
import { FEATURE, OPTION, RSS_LUT_SIZE } from "./constants.ts";
import type { DeviceSettings, OfferedOption } from "./device_settings.ts";
import { FORMAT_OPTIONS } from "./formats.ts";
import * as layout from "./layout_records.ts";
import { RSS_KEY_SIZE } from "./rss.ts";

const OPTION_ID = layout.gve_device_option.offsetOf("option_id");
const OPTION_LENGTH = layout.gve_device_option.offsetOf("option_length");

/** The device descriptor with its options. */
export function describe(settings: DeviceSettings): Uint8Array {
  const { offer } = settings;
  const header = layout.gve_device_option.size;
  const length = offer.reduce(
    (sum, { body }) => sum + header + body.length,
    layout.gve_device_descriptor.size,
  );
  const page = new Uint8Array(length);
  const descriptor = layout.gve_device_descriptor.encode({
    max_registered_pages: settings.maxPages,
    tx_queue_entries: settings.txRing.entries,
    rx_queue_entries: settings.rxRing.entries,
    default_num_queues: Math.min(settings.maxTxQueues, settings.maxRxQueues),
    mtu: settings.mtu,
    counters: settings.maxTxQueues + settings.maxRxQueues,
    tx_pages_per_qpl: settings.txPages,
    rx_pages_per_qpl: settings.rxPages,
    mac: settings.mac,
    num_device_options: offer.length,
    total_length: length,
  });
  page.set(descriptor);
  const view = new DataView(page.buffer);
  let at = descriptor.length;
  for (const { id, body } of offer) {
    view.setUint16(at + OPTION_ID, id);
    view.setUint16(at + OPTION_LENGTH, body.length);
    page.set(body, at + header);
    at += header + body.length;
  }
  return page;
}

/** Names by which options are offered. */
export const OPTION_NAMES: Readonly<Record<string, number>> = {
  "gqi-raw-addressing": OPTION.GQI_RAW_ADDRESSING,
  "gqi-rda": OPTION.GQI_RDA,
  "gqi-qpl": OPTION.GQI_QPL,
  "dqo-rda": OPTION.DQO_RDA,
  "dqo-qpl": OPTION.DQO_QPL,
  "modify-ring": OPTION.MODIFY_RING,
  "jumbo-frames": OPTION.JUMBO_FRAMES,
  "buffer-sizes": OPTION.BUFFER_SIZES,
  "rss-config": OPTION.RSS_CONFIG,
  "flow-steering": OPTION.FLOW_STEERING,
  "nic-timestamp": OPTION.NIC_TIMESTAMP,
};

/** What options say, as far as the device knows them. */
export interface OptionFacts {
  /** Bounds of ring sizes. */
  readonly txRing: { readonly min: number; readonly max: number };
  /** Bounds of ring sizes. */
  readonly rxRing: { readonly min: number; readonly max: number };
  /** Suggested pages of transmit page lists. */
  readonly txPages: number;
  /** Suggested pages of receive page lists. */
  readonly rxPages: number;
  /** Largest MTU. */
  readonly maxMtu: number;
  /** Largest packet buffer and header buffer. */
  readonly buffers: { readonly packet: number; readonly header: number };
}

const FEATURE_OF: ReadonlyMap<number, number> = new Map([
  [OPTION.MODIFY_RING, FEATURE.MODIFY_RING],
  [OPTION.JUMBO_FRAMES, FEATURE.JUMBO_FRAMES],
  [OPTION.BUFFER_SIZES, FEATURE.BUFFER_SIZES],
  [OPTION.FLOW_STEERING, FEATURE.FLOW_STEERING],
  [OPTION.RSS_CONFIG, FEATURE.RSS_CONFIG],
  [OPTION.NIC_TIMESTAMP, FEATURE.NIC_TIMESTAMP],
]);

/** Options by id, with bodies. An id unknown to the device gets an empty one. */
export function offerOptions(ids: readonly number[], facts: OptionFacts): OfferedOption[] {
  let features = 0;
  for (const id of ids) features |= FEATURE_OF.get(id) ?? 0;
  return ids.map((id) => ({ id, body: optionBody(id, features, facts) }));
}

function optionBody(id: number, features: number, facts: OptionFacts): Uint8Array {
  const { txRing, rxRing, buffers } = facts;
  const supported_features_mask = FORMAT_OPTIONS.has(id) ? features : FEATURE_OF.get(id) ?? 0;
  switch (id) {
    case OPTION.GQI_RDA:
      return layout.gve_device_option_gqi_rda.encode({ supported_features_mask });
    case OPTION.GQI_QPL:
      return layout.gve_device_option_gqi_qpl.encode({ supported_features_mask });
    case OPTION.DQO_RDA:
      return layout.gve_device_option_dqo_rda_entries.encode({
        supported_features_mask,
        tx_comp_ring_entries: txRing.max,
        rx_buff_ring_entries: rxRing.max,
      });
    case OPTION.DQO_QPL:
      return layout.gve_device_option_dqo_qpl.encode({
        supported_features_mask,
        tx_pages_per_qpl: facts.txPages,
        rx_pages_per_qpl: facts.rxPages,
      });
    case OPTION.MODIFY_RING:
      return layout.gve_device_option_modify_ring.encode({
        supported_features_mask,
        max_rx_ring_size: rxRing.max,
        max_tx_ring_size: txRing.max,
        min_rx_ring_size: rxRing.min,
        min_tx_ring_size: txRing.min,
      });
    case OPTION.JUMBO_FRAMES:
      return layout.gve_device_option_jumbo_frames.encode({ supported_features_mask, max_mtu: facts.maxMtu });
    case OPTION.BUFFER_SIZES:
      return layout.gve_device_option_buffer_sizes.encode({
        supported_features_mask,
        packet_buffer_size: buffers.packet,
        header_buffer_size: buffers.header,
      });
    case OPTION.FLOW_STEERING:
      return layout.gve_device_option_flow_steering.encode({ supported_features_mask });
    case OPTION.NIC_TIMESTAMP:
      return layout.gve_device_option_nic_timestamp.encode({ supported_features_mask });
    case OPTION.RSS_CONFIG:
      return layout.gve_device_option_rss_config.encode({
        supported_features_mask,
        hash_key_size: RSS_KEY_SIZE,
        hash_lut_size: RSS_LUT_SIZE,
      });
    default:
      return new Uint8Array(0);
  }
}
