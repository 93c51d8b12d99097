/** A file mapped into memory, shared with another process. */
import { Memory } from "../../core/memory.ts";

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const O_RDWR = 2;

/** A file of zeros, mapped. The mapping ends with the process. */
export class MappedFile {
  readonly path: string;
  readonly memory: Memory;
  readonly #libc;
  readonly #address: Deno.PointerValue;

  constructor(size: number) {
    this.path = Deno.makeTempFileSync({ prefix: "ringpipe" });
    Deno.truncateSync(this.path, size);
    this.#libc = Deno.dlopen("libc.so.6", {
      open: { parameters: ["buffer", "i32"], result: "i32" },
      close: { parameters: ["i32"], result: "i32" },
      mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
      munmap: { parameters: ["pointer", "usize"], result: "i32" },
    });
    const { symbols } = this.#libc;
    const fd = symbols.open(new TextEncoder().encode(`${this.path}\0`), O_RDWR);
    this.#address = symbols.mmap(null, BigInt(size), PROT_READ_WRITE, MAP_SHARED, fd, 0n);
    symbols.close(fd);
    if (this.#address === null) throw new Error("Cannot map a file");
    this.memory = new Memory(Deno.UnsafePointerView.getArrayBuffer(this.#address, size));
  }

  /** Removes the file. The memory must not be touched any more. */
  close(): void {
    this.#libc.symbols.munmap(this.#address, BigInt(this.memory.size));
    this.#libc.close();
    Deno.removeSync(this.path);
  }
}
