/**
 * Files, pipes and terminals as a run takes them.
 *
 * @module
 */
import type { ByteSink, ByteSource, SyncByteSink } from "../pcap/byte_source.ts";
import { explain, UsageError } from "./errors.ts";

/** What stands for standard input and output. */
const STANDARD = "-";

/** Which file something is, whatever it is called. */
interface Identity {
  readonly dev: number;
  readonly ino: number | null;
}

/** What an input or an output is. */
interface FileStatus extends Identity {
  /** Its size in bytes if it is a regular file. */
  readonly size: number | undefined;
  /** Whether it keeps or carries what is written there: it is no terminal, and not the null device. */
  readonly keeps: boolean;
}

/** Numbers of standard input and standard output. */
type Descriptor = 0 | 1;

/** Where Linux shows them among its files, to be looked at with all permissions only. */
function standardFile(descriptor: Descriptor): string {
  return `/proc/self/fd/${descriptor}`;
}

/**
 * What standard input is. Elsewhere than on Linux, and with fewer permissions, of all interfaces Node's alone tells;
 * loading it takes longer than all the rest of the command line, so this is to be called when the answer is needed and
 * not before.
 */
function statStandardInput(): FileStatus {
  try {
    return fileStatus(Deno.statSync(standardFile(0)));
  } catch {
    return statDescriptor(0);
  }
}

function statDescriptor(descriptor: number): FileStatus {
  // deno-lint-ignore no-process-global -- An import would load it at the start.
  const status = process.getBuiltinModule("node:fs").fstatSync(descriptor);
  return fileStatus({ ...status, isFile: status.isFile(), isCharDevice: status.isCharacterDevice() });
}

function fileStatus(
  { isFile, isCharDevice, size, dev, ino }:
    & Identity
    & Pick<Deno.FileInfo, "isFile" | "isCharDevice" | "size">,
): FileStatus {
  return { size: isFile ? size : undefined, keeps: isCharDevice !== true, dev, ino };
}

/** Whether everything is permitted; if not, a look at some files would make the runtime ask the user. */
function hasAllPermissions(): boolean {
  const names = ["read", "write", "run", "ffi", "net", "env", "sys", "import"] as const;
  return names.every((name) => Deno.permissions.querySync({ name }).state === "granted");
}

/** What standard output is, if Linux shows it; to find it out otherwise takes too long for every run. */
function statStandardOutput(): FileStatus | undefined {
  if (Deno.build.os !== "linux" || !hasAllPermissions()) return undefined;
  return fileStatus(Deno.statSync(standardFile(1)));
}

/**
 * What a path leads to: nothing if there is none yet, or if looking at it is not permitted.
 *
 * @param path The path, or `-`.
 * @param standard What `-` stands for.
 */
export function statFile(path: string, standard: Descriptor): FileStatus | undefined {
  try {
    if (path === STANDARD) {
      return standard === 0 ? statStandardInput() : statStandardOutput() ?? statDescriptor(1);
    }
    if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return undefined;
    return fileStatus(Deno.statSync(path));
  } catch {
    return undefined;
  }
}

/** Whether an output is a regular file and the same one as the input. */
function isSameFile(output: FileStatus | undefined, input: Input | undefined): boolean {
  if (input === undefined || output?.size === undefined || output.ino === null) return false;
  const { dev, ino } = input.identity;
  return output.ino === ino && output.dev === dev;
}

/** An opened input. */
export class Input implements ByteSource {
  /** Its name for a person. */
  readonly name: string;
  /** How many bytes have been read. */
  bytesRead = 0;
  readonly #file: ByteSource & { close(): void };
  #status: FileStatus | undefined;
  #closed = false;

  /** Made by {@linkcode openInput}. */
  constructor(name: string, file: ByteSource & { close(): void }, status?: FileStatus) {
    this.name = name;
    this.#file = file;
    this.#status = status;
  }

  /** Its size in bytes if it is a regular file; if not, bytes arrive when they like. */
  get size(): number | undefined {
    return this.identity.size;
  }

  /** Which file it is. */
  get identity(): FileStatus {
    return this.#status ??= statStandardInput();
  }

  async read(target: Uint8Array): Promise<number | null> {
    const length = await this.#file.read(target).catch((error) => {
      throw new Error(`cannot read ${this.name}: ${explain(error)}`);
    });
    if (length !== null) this.bytesRead += length;
    return length;
  }

  /** Closes it, unless it is standard input. */
  close(): void {
    if (!this.#closed && this.name !== "standard input") this.#file.close();
    this.#closed = true;
  }
}

function ignore(): void {}

/** While there is one, a file that may not grow is an error of the write and not the end of the process. */
export class FileLimit implements Disposable {
  /** From now on. */
  constructor() {
    // Windows has no such signal.
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGXFSZ", ignore);
  }

  [Symbol.dispose](): void {
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGXFSZ", ignore);
  }
}

/**
 * Refuses a name that was not UTF-8: the runtime has put a replacement character into it, and so finds no such file and
 * would write to another one.
 */
function refuseReplaced(path: string, instead: string): void {
  if (!path.includes("\ufffd")) return;
  throw new UsageError(`${path} is not UTF-8, and no such file can be opened: use ${instead}`);
}

/**
 * Opens a capture to be read.
 *
 * @param path Its path, or `-`.
 * @throws {UsageError} If it is a terminal or a directory, or its name is not UTF-8.
 */
export async function openInput(path: string): Promise<Input> {
  if (path === STANDARD) {
    if (Deno.stdin.isTerminal()) {
      throw new UsageError("standard input is a terminal: name a capture, or connect a pipe");
    }
    return new Input("standard input", Deno.stdin);
  }
  const file = await Deno.open(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) refuseReplaced(path, "- < FILE");
    throw error;
  });
  const status = file.statSync();
  if (status.isDirectory) {
    file.close();
    throw new UsageError(`${path} is a directory`);
  }
  return new Input(path, file, fileStatus(status));
}

/**
 * Reads a text.
 *
 * @param path Its path, or `-`.
 */
export async function readText(path: string): Promise<string> {
  if (path !== STANDARD) return await Deno.readTextFile(path);
  try {
    return await new Response(Deno.stdin.readable).text();
  } catch (error) {
    throw new Error(`cannot read standard input: ${explain(error)}`);
  }
}

/** What an {@linkcode Output} writes to. */
type OpenFile = ByteSink & SyncByteSink & { close?(): void };

/** An opened output. Nothing is cut off or created for good before it is known that bytes will come. */
export class Output implements ByteSink, SyncByteSink {
  /** Its name for a person. */
  readonly name: string;
  readonly #file: OpenFile;
  readonly #regular: Deno.FsFile | undefined;
  readonly #created: boolean;
  /** How many bytes were taken. */
  #size = 0;
  /** Settled when the file is empty; nothing until that is begun with. */
  #emptied: Promise<void> | undefined;

  /** Made by {@linkcode openOutput}. */
  constructor(name: string, file: OpenFile, regular: Deno.FsFile | undefined, created: boolean) {
    this.name = name;
    this.#file = file;
    this.#regular = regular;
    this.#created = created;
  }

  /** Begins to empty the file: with a large one that takes as long as many packets. */
  prepare(): void {
    this.#emptied ??= this.#regular?.truncate(0) ?? Promise.resolve();
    // Whoever writes hears of an error.
    this.#emptied.catch(() => {});
  }

  async write(bytes: Uint8Array): Promise<number> {
    try {
      this.prepare();
      await this.#emptied;
      const length = await this.#file.write(bytes);
      this.#size += length;
      return length;
    } catch (error) {
      throw this.#explained(error);
    }
  }

  writeSync(bytes: Uint8Array): number {
    try {
      if (!this.#emptied) {
        this.#regular?.truncateSync(0);
        this.#emptied = Promise.resolve();
      }
      const length = this.#file.writeSync(bytes);
      this.#size += length;
      return length;
    } catch (error) {
      throw this.#explained(error);
    }
  }

  #explained(error: unknown): unknown {
    if (error instanceof Deno.errors.BrokenPipe) return error;
    return new Error(`cannot write ${this.name}: ${explain(error)}`);
  }

  async cut(length: number): Promise<void> {
    this.#size -= length;
    await this.#regular?.truncate(this.#size);
  }

  cutSync(length: number): void {
    this.#size -= length;
    this.#regular?.truncateSync(this.#size);
  }

  /** Closes it; a file that was created and has nothing is removed. */
  async close(): Promise<void> {
    if (this.name === "standard output") return;
    this.#file.close?.();
    if (!this.#created || this.#size > 0) return;
    // Its name may be a link that led nowhere before.
    const path = await Deno.realPath(this.name).catch(() => this.name);
    await Deno.remove(path).catch(() => {});
  }
}

/**
 * What an output is that was there before. Looking at an open file takes a permission to read it, too; with Node's
 * interface it does not, but that takes long to load.
 */
function statOutput(path: string, file: Deno.FsFile): FileStatus {
  const { state } = Deno.permissions.querySync({ name: "read", path });
  if (state === "granted") return fileStatus(file.statSync());
  // deno-lint-ignore no-process-global -- An import would load it at the start.
  const fs = process.getBuiltinModule("node:fs");
  const descriptor = fs.openSync(path, "a");
  const status = statDescriptor(descriptor);
  fs.closeSync(descriptor);
  return status;
}

async function openOrCreate(path: string, flag: string): Promise<[Deno.FsFile, boolean]> {
  try {
    return [await Deno.open(path, { write: true }), false];
  } catch (error) {
    if (error instanceof Deno.errors.IsADirectory) throw new UsageError(`${path} is a directory`);
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    refuseReplaced(path, `${flag} - > FILE`);
    return [await Deno.open(path, { write: true, create: true }), true];
  }
}

/**
 * Opens a capture to be written.
 *
 * @param path Its path, or `-`.
 * @param input What is read, if anything is: it must not be that.
 * @param flag What it was given with.
 * @throws {UsageError} If it is a terminal, a directory, or the input, or its name is not UTF-8.
 */
export async function openOutput(path: string, input: Input | undefined, flag = "-w"): Promise<Output> {
  if (path === STANDARD) {
    if (Deno.stdout.isTerminal()) {
      throw new UsageError("standard output is a terminal: name an output with -w, or connect a pipe");
    }
    if (isSameFile(statStandardOutput(), input)) throw new UsageError("standard output is the input");
    return new Output("standard output", Deno.stdout, undefined, false);
  }
  const [file, created] = await openOrCreate(path, flag);
  if (created) return new Output(path, file, file, created);
  const status = statOutput(path, file);
  if (isSameFile(status, input)) {
    file.close();
    throw new UsageError(`the output ${path} is the input`);
  }
  return new Output(path, file, status.size === undefined ? undefined : file, created);
}
