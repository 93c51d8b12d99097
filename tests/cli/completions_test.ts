import { assertEquals } from "@std/assert";
import { needPeers } from "../peers.ts";
import { inRoot, ringpipe } from "./program.ts";

/** Command lines, words that must be offered, and words that must not. */
const CASES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["ringpipe ", ["run", "backends", "struct", "completions", "help"], ["list"]],
  ["ringpipe st", ["struct"], ["run"]],
  ["ringpipe run --st", ["--stats", "--stats-out"], ["--backend"]],
  ["ringpipe run -b ", ["virtio", "gve", "xen", "vdpa", "mailbox"], ["run"]],
  ["ringpipe run --backend=vi", ["virtio"], ["gve"]],
  ["ringpipe run -F ", ["pcap", "pcapng"], ["virtio"]],
  ["ringpipe run -q -b virtio -o queue", ["queue-size"], ["layout"]],
  ["ringpipe run -b mailbox -o ", ["slots"], ["queue-size"]],
  ["ringpipe run -b virtio -o layout=", ["flexible", "legacy"], ["on"]],
  ["ringpipe run -b virtio -o layout=legacy -o indirect=", ["on", "off"], ["legacy"]],
  ["ringpipe run -b virtio -w ", ["deno.json"], ["virtio"]],
  ["ringpipe run --stats den", ["deno.json"], []],
  ["ringpipe serve -o queue-p", ["queue-pairs"], ["slots"]],
  ["ringpipe serve -b virtio -o gso=", ["segment", "keep"], ["on"]],
  ["ringpipe struct ", ["list", "show", "decode", "encode", "verify"], ["run"]],
  ["ringpipe struct show vring_d", ["vring_desc", "vring_desc@be"], ["vring_used"]],
  ["ringpipe struct show --json mail", ["mailbox_slot"], ["vring_desc"]],
  ["ringpipe struct verify de", ["deno.json"], ["vring_desc"]],
  ["ringpipe struct verify --s", ["--strict"], ["--json"]],
  ["ringpipe completions ", ["bash", "zsh", "fish"], ["virtio"]],
  ["ringpipe backends vi", ["virtio"], ["gve"]],
  ["ringpipe help st", ["struct"], ["run"]],
];

/** A candidate without what stands before a value, and without what is typed for the user behind a word. */
function bare(word: string): string {
  return word.trim().replace(/=$/, "").replace(/^.*=/, "");
}

async function output(command: string, args: readonly string[], stdin = ""): Promise<string> {
  const child = new Deno.Command(command, {
    args: [...args],
    cwd: inRoot("."),
    env: { TERM: "dumb", HOME: "/nonexistent" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin));
  await writer.close();
  const { stdout, stderr } = await child.output();
  assertEquals(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout);
}

/** Writes the script of a shell into a file while `body` runs. */
async function withScript(shell: string, body: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: `.${shell}` });
  try {
    const { text, stderr } = await ringpipe(["completions", shell, "--plugin", "./examples/mailbox.ts"]);
    assertEquals(stderr, "");
    await Deno.writeTextFile(path, text);
    await output(shell, ["-n", path]);
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

/** Holds what a shell offers for each command line, the cursor at its end, against what it should. */
async function checkCases(
  t: Deno.TestContext,
  complete: (lines: readonly string[]) => Promise<string[][]>,
): Promise<void> {
  const answers = await complete(CASES.map(([line]) => line));
  for (const [i, [line, wanted, unwanted]] of CASES.entries()) {
    await t.step(line, () => {
      const offered = answers[i]!.map(bare);
      assertEquals(
        wanted.filter((word) => !offered.includes(word)),
        [],
        `missing among: ${offered.join(" ")}`,
      );
      assertEquals(unwanted.filter((word) => offered.includes(word)), [], `too many: ${offered.join(" ")}`);
    });
  }
}

/** Runs a shell script that answers each command line with lines of candidates and a last one, `done`. */
async function answersOf(
  shell: string,
  flags: readonly string[],
  script: string,
  args: string[],
): Promise<string[][]> {
  const text = await output(shell, [...flags, "-c", script, ...args]);
  return text.split(/^done\n/m).map((part) => part.trimEnd().split("\n").map((row) => row.split("\t")[0]!));
}

const BASH = `
source "$1"
for COMP_LINE in "\${@:2}"; do
  COMP_POINT=\${#COMP_LINE}
  _ringpipe
  printf '%s\\n' "\${COMPREPLY[@]}" done
done`;

const FISH = `
source $argv[1]
for line in $argv[2..-1]
  complete -C $line
  echo done
end`;

/** Completes in an interactive zsh, where `compadd` is made to note what it would offer. */
const ZSH = `
zmodload zsh/zpty
zpty shell zsh -f -i
function say { zpty -w shell "$1" }
say 'PS1= PS2= ; stty -echo 2> /dev/null'
say 'autoload -U compinit && compinit -u -D'
say "source $1"
say 'function compadd {
  if (( ! \${@[(I)-[OAD]]} )); then
    local -a words
    builtin compadd -O words "$@"
    (( $#words )) && print -rl -- $words >> '$2'
  fi
  builtin compadd "$@"
}'
say 'function finish { print done >> '$2'; zle kill-whole-line }; zle -N finish; bindkey "^_" finish'
for line in "\${@:3}"; do
  : >| $2
  zpty -w -n shell "$line"$'\\t\\x1f'
  for (( i = 0; i < 1000; i++ )); do
    sleep 0.01
    [[ "$(< $2)" == *done ]] && break
  done
  cat $2
done
zpty -d shell`;

Deno.test({
  ...needPeers("bash"),
  name: "completions bash completes commands, flags, backends, options, structures and files",
  fn: async (t) => {
    await withScript("bash", async (path) => {
      await checkCases(t, (lines) => answersOf("bash", ["--norc"], BASH, ["bash", path, ...lines]));
      const colon = ["bash", path, "ringpipe struct show gve_tx_compl_desc:t"];
      await t.step("replaces only what follows the last colon of a structure's name", async () => {
        assertEquals((await answersOf("bash", ["--norc"], BASH, colon))[0], ["tag"]);
      });
    });
  },
});

Deno.test({
  ...needPeers("fish"),
  name: "completions fish completes commands, flags, backends, options, structures and files",
  fn: async (t) => {
    await withScript("fish", async (path) => {
      await checkCases(t, (lines) => answersOf("fish", ["--no-config"], FISH, [path, ...lines]));
    });
  },
});

Deno.test({
  ...needPeers("zsh"),
  name: "completions zsh completes commands, flags, backends, options, structures and files",
  fn: async (t) => {
    await withScript("zsh", async (path) => {
      const notes = await Deno.makeTempFile();
      await checkCases(t, (lines) => answersOf("zsh", ["-f"], ZSH, ["zsh", path, notes, ...lines]))
        .finally(() => Deno.remove(notes));
    });
  },
});
