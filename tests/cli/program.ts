/**
 * The command line as a process of its own, for tests.
 *
 * @module
 */
const root = new URL("../../", import.meta.url);

/** What a process left behind. */
export interface Outcome {
  /** Exit status. */
  readonly status: number;
  /** Standard output. */
  readonly stdout: Uint8Array<ArrayBuffer>;
  /** Standard output as text. */
  readonly text: string;
  /** Standard error as text. */
  readonly stderr: string;
}

/** How to start it. */
export interface ProgramOptions {
  /** What it reads from standard input. */
  readonly stdin?: Uint8Array<ArrayBuffer> | string;
  /** Its permissions; all reads and writes if not given. */
  readonly permissions?: readonly string[];
  /** Its module; the command line if not given. */
  readonly module?: URL;
}

/** The path of a file of this repository. */
export function inRoot(path: string): string {
  return decodeURIComponent(new URL(path, root).pathname);
}

/** The example plugin as arguments. */
export const MAILBOX: readonly string[] = ["--plugin", inRoot("examples/mailbox.ts"), "-b", "mailbox"];

/** Runs it to its end, in the root of the repository. */
export async function ringpipe(args: readonly string[], options: ProgramOptions = {}): Promise<Outcome> {
  const { stdin = "", permissions = ["--allow-read", "--allow-write"], module } = options;
  const main = module ?? new URL("cli/main.ts", root);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      ...permissions,
      "--config",
      inRoot("deno.json"),
      main.href,
      ...args,
    ],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = new Response(stdin).body?.pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await input;
  const decoder = new TextDecoder();
  return { status: code, stdout, text: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
