/** Our frontend in a mapped file, which a backend in another process maps as well. */
import { AddressSpace } from "../../core/address_space.ts";
import { ManualClock } from "../../core/clock.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { type OptionValue, OptionValues } from "../../core/options.ts";
import plugin, {
  BACKEND_PATH,
  createVif,
  FRONTEND_PATH,
  frontendOptions,
  readNumber,
  writeBackendFeatures,
  writeState,
  XenbusState,
  XenDriver,
  XenStore,
} from "../../plugins/xen/mod.ts";
import type { MappedFile } from "./mapped_file.ts";
import { grantedFrame } from "./pair.ts";

/** What the other process offers. */
export interface Offer {
  readonly maxQueues: number;
  readonly controlRing: boolean;
}

/** A frontend that has told its rings and waits for the backend to be Connected. */
export class FileFrontend {
  readonly driver: XenDriver;
  /** Notifications that it sent. */
  events = 0;
  readonly #file: MappedFile;
  readonly #store = new XenStore();

  constructor(file: MappedFile, size: number, options: Readonly<Record<string, OptionValue>>, offer: Offer) {
    const dma = new DmaMemory(new AddressSpace(), file.memory, 0, size, 0);
    // Frame numbers are page numbers of the file. Page 0 stays empty, for rings that there are not.
    dma.allocate(4096, 4096);
    this.#file = file;
    createVif(this.#store);
    let port = 1;
    this.driver = new XenDriver({
      dma,
      store: this.#store,
      path: FRONTEND_PATH,
      events: {
        allocate: () => port++,
        bind: (own) => own,
        send: () => void this.events++,
        take: () => false,
        close: () => {},
      },
      clock: new ManualClock(),
      options: frontendOptions(new OptionValues(plugin.options, options)),
    });
    writeBackendFeatures(this.#store, BACKEND_PATH, {
      sg: true,
      gso: false,
      splitEventChannels: true,
      multicastControl: false,
      ...offer,
    });
    writeState(this.#store, BACKEND_PATH, XenbusState.InitWait);
    this.driver.connect();
  }

  /** The number of the page that a key such as `queue-1/tx-ring-ref` names; 0 if there is no such key. */
  page(key: string): number {
    const ref = readNumber(this.#store, `${FRONTEND_PATH}/${key}`);
    const { address, version } = this.driver.grants;
    return ref === undefined ? 0 : grantedFrame(this.#file.memory, address, version, ref);
  }

  /** What the C backend is told of one queue, whose keys begin with `prefix`. */
  places(prefix: string, control: boolean): number[] {
    const { address, statusAddress, version } = this.driver.grants;
    return [
      version === 1 ? 0 : statusAddress / 4096,
      address / 4096,
      this.page(`${prefix}tx-ring-ref`),
      this.page(`${prefix}rx-ring-ref`),
      control ? this.page("ctrl-ring-ref") : 0,
    ];
  }

  /** Goes on with the handshake: `work` lets the backend work. */
  async connect(work: () => Promise<unknown>): Promise<void> {
    writeState(this.#store, BACKEND_PATH, XenbusState.Connected);
    while (!this.driver.connect()) await work();
  }
}
