import { assertEquals } from "@std/assert";
import { builtInNames } from "../mod.ts";

const root = new URL("../", import.meta.url);

/** All names that mod.ts exports, types among them. Whoever changes this list changes the public interface. */
const SURFACE = `
Access AddressSpace Allocation ArrayMember BATCH_PIECES BATCH_SIZE Bit BitsMember ByteOrder BytesMember ChoiceOption Clock
Count CounterSpec Counters DeviceHalf DmaMemory DmaMemoryError Doorbell DriverHalf FULL FaultSpec FaultValues Field
FieldNotes FlagOption FlowParser Frame FrameBatch FrameSink GroupMember HASH_IPV4 HASH_IPV6 HASH_IPV6_EX
HASH_NONE HASH_TCPV4 HASH_TCPV6 HASH_TCPV6_EX HASH_UDPV4 HASH_UDPV6 HASH_UDPV6_EX Half Host
IN_RESET IntegerOption L3_IPV4 L3_IPV6 L3_NONE L4_NONE L4_OTHER L4_TCP L4_UDP Link LocalHost LocalHostOptions
MICROSOFT_RSS_KEY ManualClock MaskOption Member Memory NO_BUFFERS NO_REGION NumberMember OVERSIZE
OptionBase OptionError OptionSpec OptionValue OptionValues PieceBatch Plugin PluginError Pump PumpSink READ
READ_WRITE REFUSALS RUNT Region Registers RingFault RingPair SizeOption StallError Struct
StructOptions TextOption ToeplitzKey Value Values ValuesInput WRITE Wire add16 add32 alignUp array
bitfield bits builtInNames bytes didYouMean distance16 distance32 faultSpecs finishChecksum flowHash
flowHashType foldSum formatOption formatSize group hashTypeBit i16 i32 isPowerOfTwo loadBackend loadPlugin
nameValue nearest needEvent16 needEvent32 nested onesSum openLink optionForm plainValue pseudoHeaderSum
struct swapped systemClock u16 u32 u64 u8 union validatePlugin withinMemory
`;

/** Names that a module exports, as `deno doc` sees them. */
async function exportsOf(path: string): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["doc", "--json", path], cwd: root })
    .output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  const { symbols } = nodes[new URL(path, root).href];
  return symbols.map(({ name }: { name: string }) => name).sort();
}

Deno.test("mod.ts exports what the list says, and nothing else", async () => {
  assertEquals(await exportsOf("mod.ts"), SURFACE.trim().split(/\s+/));
});

Deno.test("cli/main.ts exports main and its options only", async () => {
  assertEquals(await exportsOf("cli/main.ts"), ["MainOptions", "main"]);
});

Deno.test("host/vhost_user/mod.ts exports the server and what it takes", async () => {
  const names = "FEATURE_BITS Feature Port SystemError VhostUserServer VhostUserServerOptions featureMask";
  assertEquals(await exportsOf("host/vhost_user/mod.ts"), names.split(" "));
});

/** Classes with which each backend's halves can be had one by one. */
const HALVES: Readonly<Record<string, readonly string[]>> = {
  virtio: ["VirtioNetDevice", "VirtioNetDriver"],
  gve: ["GveDevice", "GveDriver"],
  xen: ["XenDevice", "XenDriver"],
  vdpa: ["VdpaDevice", "VhostVdpa"],
};

Deno.test("every backend exports its plugin and its halves", async () => {
  for (const name of builtInNames) {
    const names = await exportsOf(`plugins/${name}/mod.ts`);
    assertEquals(["default", ...HALVES[name]!].filter((wanted) => !names.includes(wanted)), [], name);
  }
});

Deno.test("mod.ts holds re-exports only", async () => {
  const source = await Deno.readTextFile(new URL("mod.ts", root));
  const code = source.replace(/^\/\*\*.*?\*\/\n/s, "").trim().split("\n");
  assertEquals(code.filter((line) => !/^export \* from ".\/(core|plugins)\/\w+\.ts";$/.test(line)), []);
});
