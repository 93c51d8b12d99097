/**
 * Runs a Deno subcommand with @std within reach: the tasks in deno.json call it as
 * `deno run -A tools/launch.ts SUBCOMMAND ARGS...`, or with `start` to run the command line itself.
 *
 * Where JSR answers, nothing is changed. Where it does not, the child gets a JSR_URL that points at registry/,
 * plain files that take @std from npm, and one line on stderr says so. The answer is remembered, so that only
 * the first start asks. JSR_URL is read when a process starts, hence the child process; this file can have no
 * imports for the same reason.
 *
 * @module
 */

const JSR_PROBE = "https://jsr.io/@std/bytes/meta.json";
const PROBE_MS = 1000;
const REMEMBER_MS = 24 * 3600 * 1000;
const SAME_INTERRUPT_MS = 100;

const root = new URL("../", import.meta.url);

/** Where Deno keeps its downloads; what is true of the network for them is true for this. */
function cacheFile(): string | undefined {
  const home = Deno.env.get("HOME");
  const own = Deno.env.get("DENO_DIR");
  if (own) return `${own}/ringpipe_jsr`;
  if (Deno.build.os === "windows") {
    const local = Deno.env.get("LOCALAPPDATA");
    return local && `${local}\\deno\\ringpipe_jsr`;
  }
  const caches = Deno.env.get("XDG_CACHE_HOME") || home && `${home}/.cache`;
  if (Deno.build.os === "darwin") return home && `${home}/Library/Caches/deno/ringpipe_jsr`;
  return caches && `${caches}/deno/ringpipe_jsr`;
}

async function probe(): Promise<boolean> {
  try {
    const response = await fetch(JSR_PROBE, { signal: AbortSignal.timeout(PROBE_MS) });
    return response.ok && "versions" in await response.json();
  } catch {
    return false;
  }
}

async function jsrAnswers(): Promise<boolean> {
  const file = cacheFile();
  try {
    const age = Date.now() - (Deno.statSync(file!).mtime?.getTime() ?? 0);
    if (age >= 0 && age < REMEMBER_MS) return Deno.readTextFileSync(file!) === "yes";
  } catch {
    // Not remembered yet.
  }
  const answers = await probe();
  try {
    Deno.writeTextFileSync(file!, answers ? "yes" : "no");
  } catch {
    // A cache that cannot be written only costs the next start another probe.
  }
  return answers;
}

const [subcommand = "start", ...rest] = Deno.args;
const env: Record<string, string> = {};
let temporary: string | undefined;

if (!Deno.env.get("JSR_URL") && !await jsrAnswers()) {
  env.JSR_URL = new URL("registry", root).href;
  if (subcommand === "publish") {
    // Modules inside the package directory would count as part of the package and be refused.
    temporary = Deno.makeTempDirSync({ prefix: "ringpipe-" });
    const link = new URL(`file://${temporary}/registry`);
    Deno.symlinkSync(new URL("registry", root), link, { type: "dir" });
    env.JSR_URL = link.href;
  }
  const notice = "ringpipe: JSR does not answer; @std comes from npm through registry/\n";
  Deno.stderr.writeSync(new TextEncoder().encode(notice));
}

const start = subcommand === "start";
const args = start
  ? [
    "run",
    "--quiet",
    "--no-prompt",
    // Of other commands and backends nothing is looked at. Without a permission to read modules this would fail.
    "--unstable-lazy-dynamic-imports",
    // The engine's cache holds what was compiled before it was written: so all of it, not outer functions alone.
    // And loading modules fills its young space of one MB twice, which collects next to nothing.
    "--v8-flags=--no-lazy,--min-semi-space-size=16",
    // Deno opens nothing under /dev (/dev/fd/63 of a shell's <(...), /dev/shm) for less than everything.
    ...(rest.some((arg) => /^\/(dev|proc)\//.test(arg)) ? ["--allow-all"] : [
      "--allow-read",
      "--allow-write",
      // Serving a foreign peer maps its memory, which Deno can only do through the C library.
      ...(rest[0] === "serve" ? ["--allow-ffi"] : []),
    ]),
    "--config",
    decodeURIComponent(new URL("deno.json", root).pathname),
    new URL("cli/main.ts", root).href,
    ...rest,
  ]
  : [subcommand, ...rest];

// `deno task` passes an interrupt on that the terminal has already sent to everyone, so that one Ctrl-C arrives
// two or three times. The command line counts interrupts (the first lets a producer upstream finish, the second
// ends at once), so it gets a session of its own and hears of each one once, from here.
// `deno task` works in the package directory; file names on the command line are meant from the caller's.
const cwd = start && Deno.env.get("INIT_CWD") || Deno.cwd();
const child = new Deno.Command(Deno.execPath(), { args, env, cwd, detached: start }).spawn();

function pass(signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has already ended; its status is on the way.
  }
}

let lastInterrupt = -Infinity;
Deno.addSignalListener("SIGINT", () => {
  const now = performance.now();
  if (start && now - lastInterrupt >= SAME_INTERRUPT_MS) {
    lastInterrupt = now;
    pass("SIGINT");
  }
});
if (Deno.build.os !== "windows") {
  Deno.addSignalListener("SIGTERM", () => pass("SIGTERM"));
  Deno.addSignalListener("SIGHUP", () => pass("SIGHUP"));
  if (start) {
    Deno.addSignalListener("SIGTSTP", () => {
      pass("SIGSTOP");
      Deno.kill(Deno.pid, "SIGSTOP");
    });
    Deno.addSignalListener("SIGCONT", () => pass("SIGCONT"));
  }
}

const status = await child.status;
if (temporary) Deno.removeSync(temporary, { recursive: true });
Deno.exit(status.code);
