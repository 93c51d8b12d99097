/**
 * `ringpipe serve` as a process of its own, for tests.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { UnixSocket } from "../../host/unix_socket.ts";
import { ASK, FrontEnd, until } from "./front_end.ts";

/** The one feature that is negotiated. */
export const VERSION_1 = 1n << 32n;
/** The command line. */
export const MAIN = new URL("../../cli/main.ts", import.meta.url).href;
/** Where the repository is. */
export const ROOT = new URL("../../", import.meta.url).pathname;

/** How to start a {@linkcode Serve}. */
export interface ServeOptions {
  /** Its permissions; all reads and writes, and the C library, if not given. */
  readonly permissions?: readonly string[];
  /** What comes before it on a command line. */
  readonly before?: readonly string[];
  /** Its socket, if not one in its directory. */
  readonly socket?: string;
}

/** One that runs. `DIR` in what it is started with stands for its directory. */
export class Serve implements AsyncDisposable {
  readonly directory: string = Deno.makeTempDirSync({ prefix: "ringpipe-serve-" });
  readonly path: string;
  readonly child: Deno.ChildProcess;
  /** Standard error and the exit status, at the end. */
  readonly output: Promise<{ readonly code: number; readonly stderr: string; readonly stdout: Uint8Array }>;

  constructor(args: readonly string[], options: ServeOptions = {}) {
    const { permissions = ["--allow-read", "--allow-write", "--allow-ffi"], before = [], socket } = options;
    this.path = socket ?? `${this.directory}/socket`;
    const [command, ...rest] = [
      ...[...before, Deno.execPath(), "run", "--quiet", "--no-prompt", ...permissions],
      ...[MAIN, "serve", "--vhost-user", this.path, ...args],
    ].map((word) => word.replaceAll("DIR", this.directory));
    this.child = new Deno.Command(command!, {
      args: rest,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      cwd: ROOT,
    }).spawn();
    this.output = this.child.output().then(({ code, stdout, stderr }) => ({
      code,
      stdout,
      stderr: new TextDecoder().decode(stderr),
    }));
  }

  /** Connects once it listens. */
  async frontEnd(): Promise<FrontEnd> {
    // The file of a socket is there a moment before anybody listens.
    let socket: UnixSocket | undefined;
    await until(() => (socket = UnixSocket.connect(this.path)) !== undefined, "it does not listen");
    const front = new FrontEnd(socket!);
    front.setUp(VERSION_1);
    await front.ask(ASK.GET_FEATURES);
    return front;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.output;
    Deno.removeSync(this.directory, { recursive: true });
  }
}

/** A frame that is unlike others: of 60 bytes and `seed` more. */
export function frame(seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: 60 + seed }, (_, i) => (seed + i) & 0xff);
}

/** The records of a capture as `serve` writes it. */
export function records(bytes: Uint8Array): { readonly time: number; readonly frame: Uint8Array }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: { time: number; frame: Uint8Array }[] = [];
  assertEquals(view.getUint32(0, true), 0xa1b23c4d);
  for (let at = 24; at < bytes.length;) {
    const length = view.getUint32(at + 8, true);
    assertEquals(view.getUint32(at + 12, true), length);
    found.push({
      time: view.getUint32(at, true) * 1e3 + view.getUint32(at + 4, true) / 1e6,
      frame: bytes.slice(at + 16, at + 16 + length),
    });
    at += 16 + length;
  }
  return found;
}
