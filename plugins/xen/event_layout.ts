/**
 * Structures and constants of event channels, `xen/event_channel.h`: what the hypercalls take, and the pages in which
 * Xen tells a domain of its events by the FIFO ABI. The words of the older ABI are in `shared_info`, see
 * `domain_layout.ts`.
 *
 * @module
 */
import {
  array,
  bitfield,
  bits,
  bytes,
  group,
  type Member,
  nested,
  type Struct,
  struct,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../core/layout.ts";

/** Numbers of event channel operations, in the header `EVTCHNOP_*`. */
export const EVTCHNOP: Readonly<
  Record<
    | "bind_interdomain"
    | "bind_virq"
    | "bind_pirq"
    | "close"
    | "send"
    | "status"
    | "alloc_unbound"
    | "bind_ipi"
    | "bind_vcpu"
    | "unmask"
    | "reset"
    | "init_control"
    | "expand_array"
    | "set_priority",
    number
  >
> = {
  bind_interdomain: 0,
  bind_virq: 1,
  bind_pirq: 2,
  close: 3,
  send: 4,
  status: 5,
  alloc_unbound: 6,
  bind_ipi: 7,
  bind_vcpu: 8,
  unmask: 9,
  reset: 10,
  init_control: 11,
  expand_array: 12,
  set_priority: 13,
};

/** What a port is, in the header `EVTCHNSTAT_*`. */
export const EVTCHNSTAT: Readonly<
  Record<"closed" | "unbound" | "interdomain" | "pirq" | "virq" | "ipi", number>
> = { closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 };

/** Priorities of the FIFO ABI, each with a queue of its own; 0 is the highest. */
export const EVTCHN_FIFO_MAX_QUEUES: number = 16;

const VIRQ: Readonly<Record<string, number>> = {
  TIMER: 0,
  DEBUG: 1,
  CONSOLE: 2,
  DOM_EXC: 3,
  TBUF: 4,
  DEBUGGER: 6,
  XENOPROF: 7,
  CON_RING: 8,
  PCPU_STATE: 9,
  MEM_EVENT: 10,
  ARGO: 11,
  ENOMEM: 12,
  XENPMU: 13,
};

const EVENT = "xen/event_channel.h";

function event(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return struct(name, { summary, source: EVENT, size, fields });
}

/** `evtchn_alloc_unbound`. */
export const evtchn_alloc_unbound: Struct = event("evtchn_alloc_unbound", "Operation 6: makes a port", 8, [
  u16("dom", "Domain of the port"),
  u16("remote_dom", "Domain that may bind to it"),
  u32("port", "The port (out)"),
]);
/** `evtchn_bind_interdomain`. */
export const evtchn_bind_interdomain: Struct = event(
  "evtchn_bind_interdomain",
  "Operation 0: binds to another domain's port",
  12,
  [
    u16("remote_dom", "Other domain"),
    u16("_pad", "Padding"),
    u32("remote_port", "Its port"),
    u32("local_port", "Own port (out)"),
  ],
);
/** `evtchn_bind_virq`. */
export const evtchn_bind_virq: Struct = event(
  "evtchn_bind_virq",
  "Operation 1: binds a virtual interrupt",
  12,
  [
    u32("virq", "VIRQ_*", { values: VIRQ }),
    u32("vcpu", "VCPU that is notified"),
    u32("port", "Own port (out)"),
  ],
);
/** `evtchn_bind_pirq`. */
export const evtchn_bind_pirq: Struct = event(
  "evtchn_bind_pirq",
  "Operation 2: binds a physical interrupt",
  12,
  [
    u32("pirq", "Physical interrupt"),
    u32("flags", "BIND_PIRQ__*", { flags: { WILL_SHARE: 1 } }),
    u32("port", "Own port (out)"),
  ],
);
/** `evtchn_bind_ipi`. */
export const evtchn_bind_ipi: Struct = event(
  "evtchn_bind_ipi",
  "Operation 7: makes a port for notes from one VCPU to another",
  8,
  [u32("vcpu", "VCPU that is notified"), u32("port", "Own port (out)")],
);
/** `evtchn_bind_vcpu`. */
export const evtchn_bind_vcpu: Struct = event(
  "evtchn_bind_vcpu",
  "Operation 8: chooses the VCPU that is notified",
  8,
  [u32("port", "Own port"), u32("vcpu", "VCPU that is notified from now on")],
);
/** `evtchn_send`. */
export const evtchn_send: Struct = event("evtchn_send", "Operation 4: notifies the other end", 4, [
  u32("port", "Own port"),
]);
/** `evtchn_close`. */
export const evtchn_close: Struct = event("evtchn_close", "Operation 3: closes a port", 4, [
  u32("port", "Own port"),
]);
/** `evtchn_unmask`. */
export const evtchn_unmask: Struct = event("evtchn_unmask", "Operation 9: unmasks a port", 4, [
  u32("port", "Own port"),
]);
/** `evtchn_status`. */
export const evtchn_status: Struct = event("evtchn_status", "Operation 5: tells about a port", 24, [
  u16("dom", "Domain of the port"),
  u16("_pad0", "Padding"),
  u32("port", "Port"),
  u32("status", "EVTCHNSTAT_* (out)", { values: EVTCHNSTAT }),
  u32("vcpu", "VCPU that is notified (out)"),
  union("", [
    group(
      "",
      [
        u16("u_dom", "Short for u.interdomain.dom"),
        u16("_pad1", "Padding"),
        u32("u_port", "Short for u.interdomain.port"),
      ],
    ),
    union("u", [
      group("unbound", [u16("dom", "Domain that may bind to it, if the status is unbound (out)")]),
      group(
        "interdomain",
        [
          u16("dom", "Other domain, if the status is interdomain (out)"),
          u16("_pad", "Padding"),
          u32("port", "Other port (out)"),
        ],
      ),
      u32("pirq", "Physical interrupt, if the status is pirq (out)"),
      u32("virq", "VIRQ_*, if the status is virq (out)", { values: VIRQ }),
    ]),
  ]),
]);
/** `evtchn_reset`. */
export const evtchn_reset: Struct = event("evtchn_reset", "Operation 10: closes all ports", 2, [
  u16("dom", "Domain of the ports"),
]);
/** `evtchn_init_control`. */
export const evtchn_init_control: Struct = event(
  "evtchn_init_control",
  "Operation 11: begins the FIFO ABI on a VCPU",
  24,
  [
    u64("control_gfn", "Frame number of the page that holds the control block"),
    u32("offset", "Where it begins in that page"),
    u32("vcpu", "VCPU"),
    u8("link_bits", "Bits of a link in an event word (out)"),
    bytes("_pad", 7, "Padding"),
  ],
);
/** `evtchn_expand_array`. */
export const evtchn_expand_array: Struct = event(
  "evtchn_expand_array",
  "Operation 12: adds a page of event words",
  8,
  [u64("array_gfn", "Frame number of the page")],
);
/** `evtchn_set_priority`. */
export const evtchn_set_priority: Struct = event(
  "evtchn_set_priority",
  "Operation 13: chooses the queue of a port",
  8,
  [u32("port", "Own port"), u32("priority", "0, the highest, to 15; 7 if never set")],
);
/** `evtchn_op`: how operations were passed before each had a number of its own in the hypercall. */
export const evtchn_op: Struct = event("evtchn_op", "Any of the operations 0 to 9, in the old form", 28, [
  u32("cmd", "EVTCHNOP_*", { values: EVTCHNOP }),
  union("u", [
    nested("alloc_unbound", evtchn_alloc_unbound),
    nested("bind_interdomain", evtchn_bind_interdomain),
    nested("bind_virq", evtchn_bind_virq),
    nested("bind_pirq", evtchn_bind_pirq),
    nested("bind_ipi", evtchn_bind_ipi),
    nested("close", evtchn_close),
    nested("send", evtchn_send),
    nested("status", evtchn_status),
    nested("bind_vcpu", evtchn_bind_vcpu),
    nested("unmask", evtchn_unmask),
  ]),
]);

/** `event_word_t`: a port's word in the pages of the FIFO ABI; word n is that of port n. */
export const event_word: Struct = event("event_word_t", "State of a port, FIFO ABI", 4, [
  bitfield(4, [
    bits("LINK", 17, "Next port in its queue; 0 at the end"),
    bits("_rsvd", 11, "Zero"),
    bits("BUSY", 1, "Xen is about to link it: its mask must not be cleared meanwhile"),
    bits("LINKED", 1, "It is in a queue"),
    bits("MASKED", 1, "Its events do not notify"),
    bits("PENDING", 1, "An event has come and is not yet handled"),
  ]),
]);
/** `evtchn_fifo_control_block`: one per VCPU. */
export const evtchn_fifo_control_block: Struct = event(
  "evtchn_fifo_control_block",
  "Queues of a VCPU, FIFO ABI",
  72,
  [
    u32("ready", "Bit n: queue n is not empty"),
    u32("_rsvd", "Zero"),
    array("head", EVTCHN_FIFO_MAX_QUEUES, u32("", "First port in the queue of this priority")),
  ],
);

/** All structures of this file. */
export const eventStructures: readonly Struct[] = [
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_bind_virq,
  evtchn_bind_pirq,
  evtchn_bind_ipi,
  evtchn_bind_vcpu,
  evtchn_send,
  evtchn_close,
  evtchn_unmask,
  evtchn_status,
  evtchn_reset,
  evtchn_init_control,
  evtchn_expand_array,
  evtchn_set_priority,
  evtchn_op,
  event_word,
  evtchn_fifo_control_block,
];
