/**
 * A Linux guest under QEMU's emulator whose network card is served by us.
 *
 * @module
 */
import { buildInitramfs, findKernel } from "./initramfs.ts";

/** Whether a guest can be booted here: what {@linkcode needPeers} is for commands. */
export function needGuest(): { ignore: boolean } {
  if (findKernel()) return { ignore: false };
  if (Deno.env.get("CI")) throw new Error("Tests need a guest kernel below /opt/guest-kernel: not found");
  Deno.stderr.writeSync(new TextEncoder().encode("tests left out: no guest kernel found\n"));
  return { ignore: true };
}

/** What a guest is booted with. */
export interface GuestOptions {
  /** Where its files go. */
  readonly directory: string;
  /** The vhost-user socket. */
  readonly socket: string;
  /** What it runs. */
  readonly script: string;
  /** Further properties of its network card: `,mq=on`. */
  readonly device?: string;
  /** Further properties of the net backend: `,queues=2`. */
  readonly netdev?: string;
  /** Processors. */
  readonly processors?: number;
  /** Memory. */
  readonly memory?: string;
}

/** A running guest. */
export class Guest implements AsyncDisposable {
  /** All that it has printed. */
  output = "";
  readonly #child: Deno.ChildProcess;
  readonly #monitor: string;
  readonly #reading: Promise<void>;
  #heard: () => void = () => {};
  #ended = false;

  /** Boots it. */
  constructor(options: GuestOptions) {
    const { directory, socket, script, device = "", netdev = "", processors = 1, memory = "384M" } = options;
    const kernel = findKernel()!;
    this.#monitor = `${directory}/monitor`;
    const args = [
      ["-machine", "q35,accel=tcg,memory-backend=mem", "-cpu", "max", "-m", memory, "-smp", `${processors}`],
      ["-object", `memory-backend-memfd,id=mem,size=${memory},share=on`],
      ["-display", "none", "-serial", "stdio", "-no-reboot", "-nic", "none"],
      ["-monitor", `unix:${this.#monitor},server=on,wait=off`],
      [
        "-chardev",
        `socket,id=c0,path=${socket},reconnect=1`,
        "-netdev",
        `vhost-user,id=n0,chardev=c0${netdev}`,
      ],
      // Without vectors=0 (so with MSI-X) QEMU 7.2 of Debian 12 crashes as an emulator with vhost-user.
      ["-device", `virtio-net-pci,id=nic,netdev=n0,mac=02:00:00:00:00:02,vectors=0${device}`],
      ["-kernel", kernel.image, "-initrd", buildInitramfs(kernel, script, directory)],
      ["-append", "console=ttyS0 panic=-1 quiet"],
    ].flat();
    this.#child = new Deno.Command("qemu-system-x86_64", {
      args,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([this.#read(this.#child.stdout), this.#read(this.#child.stderr)]).then(() => {
      this.#ended = true;
      this.#heard();
    });
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (
      const text of stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    ) {
      this.output += text;
      this.#heard();
    }
  }

  /** Waits until the guest has printed a line that matches. */
  async line(pattern: RegExp, seconds = 60): Promise<RegExpExecArray> {
    const limit = performance.now() + seconds * 1000;
    for (;;) {
      const match = pattern.exec(this.output);
      if (match) return match;
      const left = limit - performance.now();
      if (this.#ended || left <= 0) {
        throw new Error(`The guest has not printed ${pattern}:\n${this.output.slice(-3000)}`);
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  /** Waits for the end of the script. */
  async end(seconds = 60): Promise<string> {
    await this.line(/GUEST-END/, seconds);
    return this.output;
  }

  /** Gives QEMU's monitor a command. */
  async monitor(command: string): Promise<void> {
    using connection = await Deno.connect({ transport: "unix", path: this.#monitor });
    const buffer = new Uint8Array(4096);
    const decoder = new TextDecoder();
    const prompt = async () => {
      for (let text = ""; !text.includes("(qemu) ");) {
        const length = await connection.read(buffer);
        if (length === null) return;
        text += decoder.decode(buffer.subarray(0, length));
      }
    };
    await prompt();
    await connection.write(new TextEncoder().encode(`${command}\n`));
    await prompt();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#reading;
  }
}
