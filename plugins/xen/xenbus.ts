/**
 * How frontend and backend find each other: keys in xenstore, and the states both walk through.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";

/** Xenstore as one domain sees it: texts at paths. */
export class XenStore {
  readonly #nodes = new Map<string, string>();
  #generation = 0;

  /** Grows with every change: a cheap watch. */
  get generation(): number {
    return this.#generation;
  }

  /** The value at a path, if there is one. */
  read(path: string): string | undefined {
    return this.#nodes.get(path);
  }

  /** Sets the value at a path. Numbers are stored as decimal digits. */
  write(path: string, value: string | number): void {
    this.#nodes.set(path, String(value));
    this.#generation++;
  }

  /** Removes a path and all below it. */
  remove(path: string): void {
    for (const key of this.#nodes.keys()) {
      if (key === path || key.startsWith(`${path}/`)) this.#nodes.delete(key);
    }
    this.#generation++;
  }

  /** All paths and values, sorted: for a person to look at. */
  entries(): [string, string][] {
    return [...this.#nodes].sort(([a], [b]) => a < b ? -1 : 1);
  }
}

/** States of a device, each side's own under `state`. */
export const XenbusState: Readonly<
  Record<
    | "Unknown"
    | "Initialising"
    | "InitWait"
    | "Initialised"
    | "Connected"
    | "Closing"
    | "Closed"
    | "Reconfiguring"
    | "Reconfigured",
    number
  >
> = {
  Unknown: 0,
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
};

/** Domain of the frontend in the pipe. */
export const FRONTEND_DOMID: number = 1;
/** Domain of the backend in the pipe. */
export const BACKEND_DOMID: number = 0;
/** Where the frontend of the pipe keeps its keys. */
export const FRONTEND_PATH: string = `/local/domain/${FRONTEND_DOMID}/device/vif/0`;
/** Where the backend of the pipe keeps its keys. */
export const BACKEND_PATH: string = `/local/domain/${BACKEND_DOMID}/backend/vif/${FRONTEND_DOMID}/0`;

/** Does what a toolstack does for a new interface: both directories, both sides Initialising. */
export function createVif(store: XenStore): void {
  store.write(`${FRONTEND_PATH}/backend`, BACKEND_PATH);
  store.write(`${FRONTEND_PATH}/backend-id`, BACKEND_DOMID);
  store.write(`${FRONTEND_PATH}/handle`, 0);
  store.write(`${FRONTEND_PATH}/mac`, "00:16:3e:00:00:01");
  store.write(`${FRONTEND_PATH}/state`, XenbusState.Initialising);
  store.write(`${BACKEND_PATH}/frontend`, FRONTEND_PATH);
  store.write(`${BACKEND_PATH}/frontend-id`, FRONTEND_DOMID);
  store.write(`${BACKEND_PATH}/handle`, 0);
  store.write(`${BACKEND_PATH}/state`, XenbusState.Initialising);
}

/** A number in xenstore: decimal digits that fit 32 bits; anything else is no number. */
export function readNumber(store: XenStore, path: string): number | undefined {
  const text = store.read(path);
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= 0xffffffff ? value : undefined;
}

/** The state under a directory; Unknown if there is none. */
export function readState(store: XenStore, directory: string): number {
  return readNumber(store, `${directory}/state`) ?? XenbusState.Unknown;
}

/** Sets the state under a directory. */
export function writeState(store: XenStore, directory: string, state: number): void {
  store.write(`${directory}/state`, state);
}

function readFlag(store: XenStore, path: string): boolean {
  return readNumber(store, path) === 1;
}

/** What a backend offers. */
export interface BackendFeatures {
  /** Queues at most. */
  readonly maxQueues: number;
  /** Whether it can take packets of several slots. */
  readonly sg: boolean;
  /** Whether it can take packets to be segmented. */
  readonly gso: boolean;
  /** Whether a queue may have a port for each ring. */
  readonly splitEventChannels: boolean;
  /** Whether it has a control ring. */
  readonly controlRing: boolean;
  /** Whether it keeps multicast addresses. */
  readonly multicastControl: boolean;
}

/** Writes what a backend offers. */
export function writeBackendFeatures(store: XenStore, directory: string, features: BackendFeatures): void {
  const set = (key: string, value: number | boolean) => store.write(`${directory}/${key}`, Number(value));
  set("feature-rx-copy", 1);
  set("feature-rx-flip", 0);
  set("feature-sg", features.sg);
  set("feature-gso-tcpv4", features.gso);
  set("feature-gso-tcpv6", features.gso);
  set("feature-multicast-control", features.multicastControl);
  set("feature-dynamic-multicast-control", features.multicastControl);
  set("feature-split-event-channels", features.splitEventChannels);
  set("feature-ctrl-ring", features.controlRing);
  set("multi-queue-max-queues", features.maxQueues);
}

/** Reads what a backend offers. Missing keys mean that it lacks the feature; one queue there always is. */
export function readBackendFeatures(store: XenStore, directory: string): BackendFeatures {
  const flag = (key: string) => readFlag(store, `${directory}/${key}`);
  return {
    maxQueues: Math.max(readNumber(store, `${directory}/multi-queue-max-queues`) ?? 1, 1),
    sg: flag("feature-sg"),
    gso: flag("feature-gso-tcpv4") && flag("feature-gso-tcpv6"),
    splitEventChannels: flag("feature-split-event-channels"),
    controlRing: flag("feature-ctrl-ring"),
    // The frontend asks when it likes, so it needs the dynamic form.
    multicastControl: flag("feature-dynamic-multicast-control"),
  };
}

/** One queue of a frontend: grant references of its rings, ports of its event channels. */
export interface QueueKeys {
  /** Reference of the transmit ring page. */
  readonly txRing: number;
  /** Reference of the receive ring page. */
  readonly rxRing: number;
  /** Port for the transmit ring; for both rings if it equals `rxPort`. */
  readonly txPort: number;
  /** Port for the receive ring. */
  readonly rxPort: number;
}

/** What a frontend tells its backend. */
export interface FrontendKeys {
  /** Its queues. */
  readonly queues: readonly QueueKeys[];
  /** Reference of the control ring page and port of its event channel, if it has a control ring. */
  readonly control?: { readonly ring: number; readonly port: number };
  /** Whether it can receive packets of several slots. */
  readonly sg: boolean;
  /** Whether it can receive packets to be segmented. */
  readonly gso: boolean;
  /** Whether the backend is to keep away multicast frames whose address was not added. */
  readonly multicastControl: boolean;
}

/** Whether a frontend wants its multicast list applied now. */
export function readMulticastRequest(store: XenStore, directory: string): boolean {
  return readFlag(store, `${directory}/request-multicast-control`);
}

/** Writes what a frontend tells. With one queue its keys stand at the top, else only in `queue-N`. */
export function writeFrontendKeys(store: XenStore, directory: string, keys: FrontendKeys): void {
  const { queues, control } = keys;
  if (queues.length > 1) store.write(`${directory}/multi-queue-num-queues`, queues.length);
  queues.forEach((queue, number) => {
    const place = queues.length === 1 ? directory : `${directory}/queue-${number}`;
    store.write(`${place}/tx-ring-ref`, queue.txRing);
    store.write(`${place}/rx-ring-ref`, queue.rxRing);
    if (queue.txPort === queue.rxPort) {
      store.write(`${place}/event-channel`, queue.txPort);
    } else {
      store.write(`${place}/event-channel-tx`, queue.txPort);
      store.write(`${place}/event-channel-rx`, queue.rxPort);
    }
  });
  if (control) {
    store.write(`${directory}/ctrl-ring-ref`, control.ring);
    store.write(`${directory}/event-channel-ctrl`, control.port);
  }
  store.write(`${directory}/request-rx-copy`, 1);
  store.write(`${directory}/feature-rx-notify`, 1);
  store.write(`${directory}/feature-sg`, Number(keys.sg));
  store.write(`${directory}/feature-gso-tcpv4`, Number(keys.gso));
  store.write(`${directory}/feature-gso-tcpv6`, Number(keys.gso));
  store.write(`${directory}/request-multicast-control`, Number(keys.multicastControl));
}

/**
 * Reads and checks what a frontend tells.
 *
 * @param store Xenstore.
 * @param directory The frontend's directory.
 * @param features What the backend had offered.
 * @throws {RingFault} `xenbus-queues` if the number of queues is 0 or more than offered (CVE-2026-45890),
 * `xenbus-key` if a key is missing or no number, `xenbus-rx-copy` if it does not ask for receive by copy.
 */
export function readFrontendKeys(
  store: XenStore,
  directory: string,
  features: BackendFeatures,
): FrontendKeys {
  const required = (path: string): number => {
    const value = readNumber(store, path);
    if (value === undefined) {
      throw new RingFault("device", "xenbus", "xenbus-key", 0, {
        path,
        value: store.read(path) ?? "missing",
      });
    }
    return value;
  };
  const countPath = `${directory}/multi-queue-num-queues`;
  const count = store.read(countPath) === undefined ? 1 : required(countPath);
  if (count === 0 || count > features.maxQueues) {
    throw new RingFault("device", "xenbus", "xenbus-queues", 0, { queues: count, most: features.maxQueues });
  }
  if (!readFlag(store, `${directory}/request-rx-copy`)) {
    throw new RingFault("device", "xenbus", "xenbus-rx-copy", 0);
  }
  const queues: QueueKeys[] = [];
  for (let number = 0; number < count; number++) {
    const place = count === 1 ? directory : `${directory}/queue-${number}`;
    const split = features.splitEventChannels && store.read(`${place}/event-channel-tx`) !== undefined;
    const txPort = required(`${place}/${split ? "event-channel-tx" : "event-channel"}`);
    queues.push({
      txRing: required(`${place}/tx-ring-ref`),
      rxRing: required(`${place}/rx-ring-ref`),
      txPort,
      rxPort: split ? required(`${place}/event-channel-rx`) : txPort,
    });
  }
  const control = features.controlRing && store.read(`${directory}/ctrl-ring-ref`) !== undefined;
  return {
    queues,
    ...control && {
      control: {
        ring: required(`${directory}/ctrl-ring-ref`),
        port: required(`${directory}/event-channel-ctrl`),
      },
    },
    sg: readFlag(store, `${directory}/feature-sg`),
    gso: readFlag(store, `${directory}/feature-gso-tcpv4`) &&
      readFlag(store, `${directory}/feature-gso-tcpv6`),
    multicastControl: features.multicastControl && readMulticastRequest(store, directory),
  };
}
