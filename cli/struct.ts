/**
 * `ringpipe struct`: the structures of all backends, to be looked at, decoded, encoded and verified.
 *
 * @module
 */
import type { Command, CommandGroup, OperandSpec } from "./command.ts";
import * as flags from "./flags.ts";

const FROM = { ...flags.BACKEND, meaning: "Only structures of this backend" };
const NAME: OperandSpec = { name: "NAME", kind: "struct" };

const list: Command = {
  name: "list",
  summary: "Lists the structures",
  usage: "[-b BACKEND]",
  operands: [],
  flags: [FROM, flags.PLUGIN, flags.JSON_OUTPUT],
  execute: async (call) => (await import("./struct_show.ts")).listStructs(call),
};

const show: Command = {
  name: "show",
  summary:
    "Prints the layout of a structure: where each field lies, what it means, what its values are called",
  about: [
    "BITS are counted from the lowest of the unit at OFFSET, which is as long as the byte ORDER matters. " +
    "Where the last array takes the rest of the bytes, `[]` stands for the index, and OFFSETs behind it are " +
    "counted back from the end.",
  ],
  usage: "NAME",
  operands: [NAME],
  flags: [FROM, flags.PLUGIN, flags.JSON_OUTPUT],
  execute: async (call) => (await import("./struct_show.ts")).showStruct(call),
};

const decode: Command = {
  name: "decode",
  summary: "Prints the fields that bytes hold",
  about: [
    "HEX may have spaces, colons, commas and 0x; `-` reads it from standard input. More bytes than the structure " +
    "has are an array of it; JSON is then an array as well.",
  ],
  usage: "NAME HEX",
  operands: [NAME, { name: "HEX", repeat: true }],
  flags: [FROM, flags.PLUGIN, flags.JSON_OUTPUT],
  execute: async (call) => (await import("./struct_codec.ts")).decodeStruct(call),
};

const encode: Command = {
  name: "encode",
  summary: "Prints the bytes of a structure in hex",
  about: [
    "VALUE is a number, decimal or 0x, or names that `struct show` lists: `flags=NEXT|WRITE`. Bytes of an array " +
    "stand side by side in hex: `mac=52:54:00:12:34:56`. Fields that are not named are 0.",
  ],
  usage: "NAME FIELD=VALUE...",
  operands: [NAME, { name: "FIELD=VALUE", optional: true, repeat: true }],
  flags: [FROM, flags.PLUGIN],
  execute: async (call) => (await import("./struct_codec.ts")).encodeStruct(call),
};

const verify: Command = {
  name: "verify",
  summary: "Holds the layouts against golden vectors",
  about: [
    'A FILE is a JSON array of objects with "struct", "fields" and "hex". A vector passes when decoding agrees ' +
    "with every field it lists, and encoding what was decoded gives its bytes back. Numbers beyond 2^53 are " +
    "texts (`0x...`), byte arrays are arrays of numbers. Exit status 1 if one fails.",
  ],
  usage: "FILE.json...",
  operands: [{ name: "FILE.json", kind: "file", repeat: true }],
  flags: [
    FROM,
    flags.PLUGIN,
    { name: "strict", meaning: "Fails also if a vector names an unknown structure" },
  ],
  execute: async (call) => (await import("./struct_verify.ts")).verifyStructs(call),
};

/** The command. */
export const command: CommandGroup = {
  name: "struct",
  summary: "Shows, decodes, encodes and verifies the structures that rings are made of",
  commands: [list, show, decode, encode, verify],
};
