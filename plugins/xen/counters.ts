/**
 * What the Xen network interface counts.
 *
 * @module
 */
import type { CounterSpec } from "../../core/counters.ts";

/** All counters, frontend's and backend's. */
export const counterSpecs: readonly CounterSpec[] = [
  {
    name: "grant.tx.copy",
    meaning: "Grant copies by which the backend read transmitted bytes, failed ones included",
  },
  { name: "grant.tx.map", meaning: "Grant maps by which it read transmitted bytes, failed ones included" },
  { name: "grant.tx.unmap", meaning: "Grant unmaps that ended those mappings" },
  {
    name: "grant.rx.copy",
    meaning: "Grant copies by which the backend wrote received bytes, failed ones included",
  },
  { name: "grant.setup.map", meaning: "Grant maps for control messages: static grants and list pages" },
  { name: "grant.setup.unmap", meaning: "Grant unmaps of static grants and list pages" },
  { name: "grant.setup.copy", meaning: "Grant copies for control messages: hash keys and tables" },
  { name: "grant.ring.map", meaning: "Grant maps of ring pages" },
  { name: "grant.ring.unmap", meaning: "Grant unmaps of ring pages" },
  {
    name: "grant.saved",
    meaning:
      "Grant operations that the slots found in a static table would have cost under the same grant policy; setup is not subtracted",
  },
  { name: "static.hits", meaning: "Data slots whose reference was in its queue's table of static grants" },
  {
    name: "static.misses",
    meaning: "Data slots whose reference was looked for there in vain, or was read-only on receive",
  },
  {
    name: "hypercalls.copy",
    meaning:
      "Hypercalls for the packets' grant copies: one per 64 transmitted packets or end of a poll, one per 64 receive copies or end of a poll",
  },
  {
    name: "hypercalls.map",
    meaning: "Hypercalls for the packets' grant maps: one per 64 packets or end of a poll",
  },
  { name: "hypercalls.unmap", meaning: "Hypercalls for the packets' grant unmaps, likewise" },
  { name: "tlb.flushes", meaning: "TLB flushes: one per hypercall that unmapped packets" },
  { name: "grant.refs", meaning: "Grant references that the frontend took: rings, pages, messages" },
  { name: "grant.guest.grants", meaning: "Grant entries that the frontend wrote to permit access" },
  { name: "grant.guest.ends", meaning: "Grant entries that the frontend ended" },
  {
    name: "memcpy.front.bytes",
    meaning:
      "Bytes that the frontend copied for the sake of static grants: into the pool, and out of it with pool=copy",
  },
  {
    name: "memcpy.back.bytes",
    meaning: "Bytes that the backend copied itself into static pages, where a grant copy would have",
  },
  { name: "ctrl.messages", meaning: "Control messages that the frontend sent" },
  { name: "events.front.sent", meaning: "Event notifications that the frontend sent" },
  {
    name: "events.front.saved",
    meaning: "Times that the frontend published and the backend wanted no notification",
  },
  { name: "events.front.spurious", meaning: "Events that reached the frontend and brought no work" },
  { name: "events.back.sent", meaning: "Event notifications that the backend sent" },
  {
    name: "events.back.saved",
    meaning: "Times that the backend published and the frontend wanted no notification",
  },
  { name: "tx.frames", meaning: "Frames that the frontend put on transmit rings" },
  { name: "tx.slots", meaning: "Transmit requests that carried data" },
  { name: "tx.extras", meaning: "Extra infos on transmit rings" },
  { name: "tx.full", meaning: "Times that a frame found no free slots or pages" },
  { name: "tx.errors", meaning: "Transmit slots that were answered with an error" },
  {
    name: "tx.layout.bytes",
    meaning:
      "Bytes laid into the guest's own pages, from offset 0 of a page (or tx-offset): where a guest would have built the frame",
  },
  { name: "rx.posted", meaning: "Receive requests posted" },
  { name: "rx.frames", meaning: "Frames that the frontend received" },
  { name: "rx.slots", meaning: "Receive responses that carried data" },
  { name: "rx.extras", meaning: "Extra infos on receive rings" },
  { name: "rx.failures", meaning: "Grant copies into posted pages that failed" },
  {
    name: "drops.multicast",
    meaning: "Frames that the backend kept away by the frontend's multicast list, if it asks for that",
  },
  { name: "drops.rx.status", meaning: "Packets the frontend dropped as a slot reported an error" },
  { name: "drops.rx.bounds", meaning: "Packets it dropped as a slot reached over its page" },
  { name: "drops.rx.incomplete", meaning: "Packets it dropped as slots or extra infos were missing" },
  { name: "drops.rx.extra", meaning: "Packets it dropped for an extra info of unknown type" },
  { name: "drops.rx.slots", meaning: "Packets it dropped for too many slots" },
  { name: "drops.rx.gso", meaning: "Packets it dropped for a bad segmentation type or size" },
  {
    name: "drops.rx.runt",
    meaning: "Packets it dropped as shorter than an Ethernet header, with profile=linux",
  },
];
