/**
 * What each counter of the vDPA plugin counts.
 *
 * @module
 */
import type { CounterSpec } from "../../core/counters.ts";
import { counters as ringCounters } from "../virtio/counters.ts";

function space(asid: number, what: string): CounterSpec[] {
  return [
    { name: `as${asid}.maps`, meaning: `Entries added to the IOTLB of space ${asid} (${what})` },
    { name: `as${asid}.unmaps`, meaning: `Entries removed from it` },
    { name: `as${asid}.pages.mapped`, meaning: `Pages that the added entries touch` },
    { name: `as${asid}.pages.unmapped`, meaning: `Pages that the removed entries touch` },
    { name: `as${asid}.bytes.mapped`, meaning: `Bytes of the added entries` },
  ];
}

/** All counters: those of the rings, and those of address spaces, shadow queues and switches. */
export const counters: readonly CounterSpec[] = [
  ...ringCounters,
  { name: "iotlb.messages", meaning: "IOTLB messages written, batch marks included" },
  { name: "iotlb.batches", meaning: "Batches begun" },
  { name: "iotlb.set_map", meaning: "Times that the device was handed a whole table (set_map)" },
  ...space(0, "guest memory"),
  ...space(1, "shadow rings and control queue"),
  { name: "group.rebinds", meaning: "Groups bound to another space than 0 (SET_GROUP_ASID)" },
  { name: "status.resets", meaning: "Resets by status" },
  {
    name: "translations",
    meaning: "Addresses that the device translated on data queues: one per descriptor and per indirect table",
  },
  { name: "shadow.chains", meaning: "Chains that shadow queues relayed to the device" },
  { name: "shadow.descriptors", meaning: "Descriptors written into shadow rings for them" },
  { name: "shadow.used", meaning: "Used elements that shadow queues relayed to the guest" },
  {
    name: "shadow.translations",
    meaning:
      "Addresses translated in software: one per descriptor of the guest, where its memory lies elsewhere",
  },
  { name: "shadow.parked", meaning: "Times that a chain had to wait as the shadow ring was full" },
  { name: "shadow.rewound", meaning: "Chains put back unused into the guest's rings by switches" },
  { name: "control.commands", meaning: "Control commands that the hypervisor passed on" },
  { name: "control.replayed", meaning: "Control commands given to the device again after a switch" },
  { name: "switch.count", meaning: "Switches made while packets flowed" },
  { name: "switch.regions", meaning: "Regions mapped or unmapped inside switches" },
  { name: "switch.pages.mapped", meaning: "Pages mapped inside switches" },
  { name: "switch.pages.unmapped", meaning: "Pages unmapped inside switches" },
  {
    name: "switch.no_desc_group.regions",
    meaning: "Regions that the same switches touch with desc-group=off, from the plans; not carried out",
  },
  { name: "switch.no_desc_group.pages.mapped", meaning: "Pages that they map then" },
  { name: "switch.no_desc_group.pages.unmapped", meaning: "Pages that they unmap then" },
];
