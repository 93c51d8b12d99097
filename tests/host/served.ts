/**
 * A server in this process, for a front end in this process.
 *
 * @module
 */
import type { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";
import { type Port, VhostUserServer, type VhostUserServerOptions } from "../../host/vhost_user/server.ts";
import { featureMask } from "../../plugins/virtio/features.ts";

/** Keeps what comes, and echoes it if asked to. */
export class KeepingPort implements Port {
  readonly frames: Uint8Array[] = [];
  readonly drops: string[] = [];
  blocked = false;
  done = false;
  echo = false;
  #server: VhostUserServer | undefined;

  attach(server: VhostUserServer): void {
    this.#server = server;
  }

  transmit(frame: Frame): boolean {
    if (this.echo) {
      this.blocked = this.#server!.device.deliver(frame) === -1;
      if (this.blocked) return false;
    }
    const copy = new Memory(frame.length);
    frame.copyTo(copy, 0, 0, frame.length);
    this.frames.push(copy.bytes);
    return true;
  }

  drop(_pair: number, reason: string): void {
    this.drops.push(reason);
  }

  feed(): number {
    return 0;
  }

  due(): number {
    return Infinity;
  }

  rest(): void {}
}

/** A running server; disposing it ends it. */
export class Served implements AsyncDisposable {
  readonly port = new KeepingPort();
  readonly lines: string[] = [];
  readonly directory: string = Deno.makeTempDirSync({ prefix: "ringpipe-host-" });
  readonly path: string = `${this.directory}/socket`;
  readonly server: VhostUserServer;
  /** Settled when the server has ended. */
  readonly ended: Promise<void>;

  constructor(options: Partial<VhostUserServerOptions> = {}) {
    this.server = new VhostUserServer({
      path: this.path,
      features: featureMask("VERSION_1", "INDIRECT_DESC", "EVENT_IDX", "IN_ORDER", "MRG_RXBUF"),
      port: this.port,
      log: (line) => this.lines.push(line),
      ...options,
    });
    this.port.attach(this.server);
    this.ended = this.server.run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.stop();
    await this.ended;
    Deno.removeSync(this.directory, { recursive: true });
  }
}

/** How many descriptors and file mappings this process has. */
export function belongings(): { readonly fds: number; readonly mappings: number } {
  const fds = [...Deno.readDirSync("/proc/self/fd")].length;
  const mappings = Deno.readTextFileSync("/proc/self/maps").split("\n").filter((line) =>
    line.includes("/memfd:")
  );
  return { fds, mappings: mappings.length };
}

/** Where these tests can run at all. */
export const LINUX: { readonly ignore: boolean } = { ignore: Deno.build.os !== "linux" };
