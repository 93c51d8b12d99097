/**
 * Structures that Xen and a domain share, `xen/xen.h`: which event channels have fired or are masked, the clock, and
 * where a paravirtual domain finds its store. What 32-bit guests of x86 and guests of Arm have otherwise is told by
 * the name behind `@`; a name alone means 64-bit x86.
 *
 * @module
 */
import {
  array,
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

/** Makes a member as wide as a C `long`. */
type Word = (name: string, meaning: string) => Member;

const SOURCE = "xen/xen.h";

function domain(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return struct(name, { summary, source: SOURCE, size, fields });
}

/** `vcpu_time_info`. */
export const vcpu_time_info: Struct = domain("vcpu_time_info", "Clock of a VCPU", 32, [
  u32("version", "Odd while Xen writes; read again if it has changed"),
  u32("pad0", "Zero"),
  u64("tsc_timestamp", "Time stamp counter when Xen wrote"),
  u64("system_time", "Nanoseconds since boot then"),
  u32("tsc_to_system_mul", "Nanoseconds per count, in units of 2^-32, after tsc_shift"),
  u8("tsc_shift", "Shifts counts left, or right if negative", { signed: true }),
  u8("flags", "XEN_PVCLOCK_*", { flags: { TSC_STABLE_BIT: 1 << 0, GUEST_STOPPED: 1 << 1 } }),
  bytes("pad1", 2, "Zero"),
]);

const pending: Member = u8("evtchn_upcall_pending", "Not 0: look at evtchn_pending_sel");

function selector(word: Word): Member {
  return word("evtchn_pending_sel", "Bit n: word n of evtchn_pending has an event that is not masked");
}

function x86VcpuInfo(name: string, word: Word, between: readonly Member[], pad: Member): Struct {
  return domain(name, "Tells a VCPU of events and of the time", 64, [
    pending,
    u8("evtchn_upcall_mask", "Not 0: events do not interrupt this VCPU (paravirtual guests)"),
    ...between,
    selector(word),
    group("arch", [word("cr2", "Address of the last page fault (paravirtual guests)"), pad]),
    nested("time", vcpu_time_info),
  ]);
}

/** `vcpu_info`. */
export const vcpu_info: Struct = x86VcpuInfo(
  "vcpu_info",
  u64,
  [bytes("_pad", 6, "Padding")],
  u64("pad", "Zero"),
);
/** `vcpu_info` of a 32-bit guest. */
export const vcpu_info_x86_32: Struct = x86VcpuInfo(
  "vcpu_info@x86_32",
  u32,
  [u16("_pad", "Padding")],
  array("pad", 5, u32("", "Zero")),
);
/** `vcpu_info` of a guest of Arm. */
export const vcpu_info_arm: Struct = domain("vcpu_info@arm", "Tells a VCPU of events and of the time", 48, [
  pending,
  u8("pad0", "Zero"),
  bytes("_pad", 6, "Padding"),
  selector(u64),
  nested("time", vcpu_time_info),
]);

/** The words of the 2-level ABI: as many as a word has bits. */
function eventWords(word: Word, count: number): readonly Member[] {
  return [
    array("evtchn_pending", count, word("", `Bit n of word w: an event has come at port ${count} w + n`)),
    array("evtchn_mask", count, word("", `Bit n of word w: port ${count} w + n does not notify`)),
  ];
}

const wallClock: readonly Member[] = [
  u32("wc_version", "Odd while Xen writes the wall clock; read again if it has changed"),
  u32("wc_sec", "Wall clock at boot: seconds since 1970"),
  u32("wc_nsec", "Nanoseconds"),
];
const wallClockHigh: Member = u32("wc_sec_hi", "Upper half of wc_sec");

function frameTree(word: Word): readonly Member[] {
  return [
    word("max_pfn", "Entries in the tables that lead from the guest's frame numbers to the machine's"),
    word("pfn_to_mfn_frame_list_list", "Frame number of the root of their tree; all ones if there is none"),
    word("nmi_reason", "Why there was a non-maskable interrupt"),
    word("p2m_cr3", "Root of the address space that p2m_vaddr is in; 0 if there is no such list"),
    word("p2m_vaddr", "Address of the same tables as one list"),
    word("p2m_generation", "Odd while the list changes"),
  ];
}

/** `shared_info`. */
export const shared_info: Struct = domain("shared_info", "Page of a domain: events and wall clock", 3136, [
  array("vcpu_info", 32, vcpu_info),
  ...eventWords(u64, 64),
  ...wallClock,
  wallClockHigh,
  group("arch", frameTree(u64)),
]);
/** `shared_info` of a 32-bit guest. */
export const shared_info_x86_32: Struct = domain(
  "shared_info@x86_32",
  "Page of a domain: events and wall clock",
  2344,
  [
    array("vcpu_info", 32, vcpu_info_x86_32),
    ...eventWords(u32, 32),
    ...wallClock,
    group("arch", [...frameTree(u32), wallClockHigh]),
  ],
);
/** `shared_info` of a guest of Arm. */
export const shared_info_arm: Struct = domain(
  "shared_info@arm",
  "Page of a domain: events and wall clock",
  1088,
  [array("vcpu_info", 1, vcpu_info_arm), ...eventWords(u64, 64), ...wallClock, wallClockHigh],
);

/** What `start_info.flags` says, in the header `SIF_*`. */
const SIF: Readonly<Record<string, number>> = {
  PRIVILEGED: 1 << 0,
  INITDOMAIN: 1 << 1,
  MULTIBOOT_MOD: 1 << 2,
  MOD_START_PFN: 1 << 3,
  VIRT_P2M_4TOOLS: 1 << 4,
};

function startInfo(name: string, size: number, word: Word, pads: readonly Member[][]): Struct {
  const [afterFlags = [], afterPort = [], afterConsole = []] = pads;
  return domain(name, "What a paravirtual domain finds when it starts", size, [
    bytes("magic", 32, "Text: xen-VERSION-PLATFORM"),
    word("nr_pages", "Pages of the domain"),
    word("shared_info", "Machine address of its shared_info"),
    u32("flags", "SIF_*", { flags: SIF }),
    ...afterFlags,
    word("store_mfn", "Machine frame number of its xenstore_domain_interface"),
    u32("store_evtchn", "Port that notifies the store"),
    ...afterPort,
    union("console", [
      group("domU", [
        word("mfn", "Machine frame number of the console's page"),
        u32("evtchn", "Port that notifies the console"),
        ...afterConsole,
      ]),
      group("dom0", [
        u32("info_off", "Where in this page the screen is described, if flags has INITDOMAIN"),
        u32("info_size", "Bytes of that"),
      ]),
    ]),
    word("pt_base", "Virtual address of the first page table"),
    word("nr_pt_frames", "Pages of page tables"),
    word("mfn_list", "Virtual address of the list of machine frame numbers"),
    word("mod_start", "Virtual address of the initial RAM disk; a frame number if flags has MOD_START_PFN"),
    word("mod_len", "Its bytes"),
    bytes("cmd_line", 1024, "Text: the kernel's command line"),
    word("first_p2m_pfn", "First frame number of the list's own pages"),
    word("nr_p2m_frames", "How many these are"),
  ]);
}

/** `start_info`. */
export const start_info: Struct = startInfo("start_info", 1168, u64, [
  [u32("_pad0", "Padding")],
  [u32("_pad1", "Padding")],
  [u32("_pad", "Padding")],
]);
/** `start_info` of a 32-bit guest. */
export const start_info_x86_32: Struct = startInfo("start_info@x86_32", 1112, u32, []);

/** All structures of this file. */
export const domainStructures: readonly Struct[] = [
  vcpu_time_info,
  vcpu_info,
  vcpu_info_x86_32,
  vcpu_info_arm,
  shared_info,
  shared_info_x86_32,
  shared_info_arm,
  start_info,
  start_info_x86_32,
];
