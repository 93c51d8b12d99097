/**
 * DPDK's test program with a virtio driver of DPDK's own, in another process.
 *
 * @module
 */

/** What it is started with. */
export interface TestpmdOptions {
  /** The vhost-user socket. */
  readonly socket: string;
  /** `io`, `txonly`, `rxonly`, `flowgen`. */
  readonly mode: string;
  /** Its device in full, in place of a virtio-user device at the socket. */
  readonly vdevs?: readonly string[];
  /** Processors of the two threads. */
  readonly cores?: readonly [number, number];
  /** Queue pairs. */
  readonly queues?: number;
  /** Further properties of the virtio-user device: `,server=1`. */
  readonly device?: string;
  /** Further arguments. */
  readonly args?: readonly string[];
}

let instances = 0;

/** A running dpdk-testpmd that waits for commands. */
export class Testpmd implements AsyncDisposable {
  /** All that it has printed: its answers and prompts. */
  output = "";
  /** All that it has logged, which comes at any time, even in the middle of a prompt. */
  log = "";
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<unknown>;
  #heard: () => void = () => {};
  #ended = false;

  constructor(options: TestpmdOptions) {
    const { socket, mode, queues = 1, device = "", args = [] } = options;
    const control = queues > 1 ? ",cq=1" : "";
    // The first lcore takes commands; where there is but one processor, both share it.
    const [first, second] = options.cores ?? [0, navigator.hardwareConcurrency > 1 ? 1 : 0];
    const vdevs = options.vdevs ?? [`net_virtio_user0,path=${socket},queues=${queues}${control}${device}`];
    // Its answers would else stay in a buffer, as its output is no terminal.
    this.#child = new Deno.Command("stdbuf", {
      args: [
        "-oL",
        "dpdk-testpmd",
        ...[
          "--lcores",
          `0@${first},1@${second}`,
          "--no-pci",
          "--no-huge",
          "-m",
          "256",
          "--no-shconf",
          "--no-telemetry",
        ],
        ...["--file-prefix", `ringpipe${Deno.pid}_${instances++}`],
        ...vdevs.map((vdev) => `--vdev=${vdev}`),
        ...["--", "-i", "--total-num-mbufs=8192", "--no-flush-rx", `--rxq=${queues}`, `--txq=${queues}`],
        `--forward-mode=${mode}`,
        ...args,
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    const { stdout, stderr } = this.#child;
    this.#reading = Promise.all([
      this.#read(stdout, (text) => this.output += text),
      this.#read(stderr, (text) => this.log += text),
    ]).then(() => {
      this.#ended = true;
      this.#heard();
    });
  }

  /** Whether it has neither ended nor crashed. */
  get running(): boolean {
    return !this.#ended;
  }

  async #read(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      add(decoder.decode(bytes, { stream: true }));
      this.#heard();
    }
  }

  /** Waits until it has printed something that matches, from a place in its output on. */
  async prints(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    const limit = performance.now() + 60_000;
    for (;;) {
      const match = pattern.exec(this.output.slice(from));
      if (match) return match;
      const left = limit - performance.now();
      if (this.#ended || left <= 0) {
        throw new Error(`testpmd has not printed ${pattern}:\n${this.output}\n${this.log}`);
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  /** Gives it a command, once it takes any, and waits until it has printed what shows that it was carried out. */
  async command(text: string, done: RegExp): Promise<RegExpExecArray> {
    await this.prints(/testpmd> /);
    const from = this.output.length;
    await this.#input.write(new TextEncoder().encode(`${text}\n`));
    return await this.prints(done, from);
  }

  /** Starts to forward. */
  async start(): Promise<void> {
    await this.command("start", /packet forwarding/);
  }

  /** Stops forwarding. */
  async stop(): Promise<void> {
    await this.command("stop", /Done\./);
  }

  /** A counter of `show port stats 0`. */
  async counter(name: string): Promise<number> {
    return Number((await this.command("show port stats 0", new RegExp(`${name}:\\s*(\\d+)\\s`)))[1]);
  }

  /** Ends it as if it had crashed. */
  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#reading;
    await this.#input.close().catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
