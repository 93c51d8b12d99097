/**
 * The backend's end of the control ring: hash configuration and static grants.
 *
 * @module
 */
import { add32 } from "../../core/index.ts";
import { RingFault } from "../../core/fault.ts";
import { Memory } from "../../core/memory.ts";
import type { GrantTable } from "./grant_table.ts";
import { HASH_FLAGS, HASH_KEY_SIZE, HASH_MAPPING_SIZE, type HashConfiguration } from "./hash.ts";
import { GNTMAP, GNTST } from "./grant_layout.ts";
import {
  GREFS_PER_PAGE,
  PAGE_SIZE,
  xen_netif_ctrl_request,
  xen_netif_ctrl_response,
  XEN_NETIF_CTRL_STATUS,
  XEN_NETIF_CTRL_TYPE,
  xen_netif_gref,
} from "./layout.ts";
import { BackRing } from "./shared_ring.ts";
import type { StaticGrants } from "./static_grants.ts";

const REQ_ID = xen_netif_ctrl_request.offsetOf("id");
const REQ_TYPE = xen_netif_ctrl_request.offsetOf("type");
const REQ_DATA0 = xen_netif_ctrl_request.offsetOf("data[0]");
const REQ_DATA1 = xen_netif_ctrl_request.offsetOf("data[1]");
const REQ_DATA2 = xen_netif_ctrl_request.offsetOf("data[2]");
const RSP_ID = xen_netif_ctrl_response.offsetOf("id");
const RSP_TYPE = xen_netif_ctrl_response.offsetOf("type");
const RSP_STATUS = xen_netif_ctrl_response.offsetOf("status");
const RSP_DATA = xen_netif_ctrl_response.offsetOf("data");
const GREF_STATUS = xen_netif_gref.offsetOf("status");
const GREF_SIZE = xen_netif_gref.size;
const MAPPING_ENTRY = 4;

const { SUCCESS, NOT_SUPPORTED, INVALID_PARAMETER, BUFFER_OVERFLOW } = XEN_NETIF_CTRL_STATUS;

/** What a control server works on. */
export interface ControlTarget {
  /** The frontend's grants. */
  readonly grants: GrantTable;
  /** The interface's hash configuration. */
  readonly hash: HashConfiguration;
  /** Static grants by queue; none if the backend does not support them. */
  readonly statics: readonly StaticGrants[] | undefined;
  /**
   * Whether a key that is too long is INVALID_PARAMETER, as in Linux, or BUFFER_OVERFLOW, as in the header.
   */
  readonly linux: boolean;
}

/** Answers control messages, each by one response with the same id and type, pushed at once. */
export class ControlServer {
  /** List pages mapped so far. */
  maps = 0;
  /** List pages unmapped so far. */
  unmaps = 0;
  /** Copies of keys and tables so far. */
  copies = 0;
  readonly #ring: BackRing;
  readonly #target: ControlTarget;
  readonly #notify: (wanted: boolean) => void;
  /**
   * A private copy of the page under judgement: it is read once, whatever the frontend does to it meanwhile.
   */
  readonly #page = new Memory(PAGE_SIZE);
  #data = 0;

  /**
   * Attaches to a ring page.
   *
   * @param memory The memory that holds the page.
   * @param page Where it starts.
   * @param target What the messages change.
   * @param notify Called for each response; it says whether the frontend wants to be notified.
   */
  constructor(memory: Memory, page: number, target: ControlTarget, notify: (wanted: boolean) => void) {
    this.#ring = new BackRing(memory, page, xen_netif_ctrl_request.size);
    this.#target = target;
    this.#notify = notify;
  }

  /**
   * Answers what has been asked.
   *
   * @returns How many messages there were.
   * @throws {RingFault} `ctrl-request-overrun` if the frontend's index claims more than the ring holds.
   */
  serve(): number {
    const ring = this.#ring;
    const producer = ring.readProducer();
    if (producer === ring.reqCons) return 0;
    if (ring.overflows(producer)) {
      const values = { req_prod: producer, req_cons: ring.reqCons, most: ring.size };
      throw new RingFault("device", "ctrl", "ctrl-request-overrun", ring.reqCons, values);
    }
    let served = 0;
    while (ring.reqCons !== producer) {
      this.#serveOne();
      served++;
    }
    ring.requestEvent(add32(ring.reqCons, 1));
    return served;
  }

  #serveOne(): void {
    const ring = this.#ring;
    const view = ring.memory.view;
    const request = ring.slot(ring.reqCons);
    const id = view.getUint16(request + REQ_ID, true);
    const type = view.getUint16(request + REQ_TYPE, true);
    const data0 = view.getUint32(request + REQ_DATA0, true);
    const data1 = view.getUint32(request + REQ_DATA1, true);
    const data2 = view.getUint32(request + REQ_DATA2, true);
    ring.reqCons = add32(ring.reqCons, 1);
    this.#data = 0;
    const status = this.#execute(type, data0, data1, data2);
    const response = ring.slot(ring.rspProd);
    view.setUint16(response + RSP_ID, id, true);
    view.setUint16(response + RSP_TYPE, type, true);
    view.setUint32(response + RSP_STATUS, status, true);
    view.setUint32(response + RSP_DATA, this.#data, true);
    ring.rspProd = add32(ring.rspProd, 1);
    this.#notify(ring.push());
  }

  #execute(type: number, data0: number, data1: number, data2: number): number {
    const { hash, statics } = this.#target;
    switch (type) {
      case XEN_NETIF_CTRL_TYPE.GET_HASH_FLAGS: {
        const status = hash.getFlags();
        if (status === SUCCESS) this.#data = HASH_FLAGS;
        return status;
      }
      case XEN_NETIF_CTRL_TYPE.SET_HASH_FLAGS:
        return hash.setFlags(data0);
      case XEN_NETIF_CTRL_TYPE.SET_HASH_KEY:
        return this.#setKey(data0, data1);
      case XEN_NETIF_CTRL_TYPE.GET_HASH_MAPPING_SIZE:
        this.#data = HASH_MAPPING_SIZE;
        return SUCCESS;
      case XEN_NETIF_CTRL_TYPE.SET_HASH_MAPPING_SIZE:
        return hash.setMappingSize(data0);
      case XEN_NETIF_CTRL_TYPE.SET_HASH_MAPPING:
        return this.#setMapping(data0, data1, data2);
      case XEN_NETIF_CTRL_TYPE.SET_HASH_ALGORITHM:
        return hash.setAlgorithm(data0);
      case XEN_NETIF_CTRL_TYPE.GET_GREF_MAPPING_SIZE:
        if (!statics) return NOT_SUPPORTED;
        if (data0 >= statics.length) return INVALID_PARAMETER;
        this.#data = statics[data0]!.capacity;
        return SUCCESS;
      case XEN_NETIF_CTRL_TYPE.ADD_GREF_MAPPING:
      case XEN_NETIF_CTRL_TYPE.DEL_GREF_MAPPING:
        if (!statics) return NOT_SUPPORTED;
        if (data0 >= statics.length || data2 === 0 || data2 > GREFS_PER_PAGE) return INVALID_PARAMETER;
        return this.#changeMappings(statics[data0]!, type, data1, data2);
      default:
        return NOT_SUPPORTED;
    }
  }

  #setKey(ref: number, length: number): number {
    if (length > HASH_KEY_SIZE) return this.#target.linux ? INVALID_PARAMETER : BUFFER_OVERFLOW;
    if (!this.#copyIn(ref, length)) return INVALID_PARAMETER;
    return this.#target.hash.setKey(this.#page.bytes.slice(0, length));
  }

  #setMapping(ref: number, entries: number, first: number): number {
    const bytes = entries * MAPPING_ENTRY;
    if (bytes > PAGE_SIZE || !this.#target.hash.holdsMapping(first, entries)) {
      return this.#target.linux || bytes <= PAGE_SIZE ? INVALID_PARAMETER : BUFFER_OVERFLOW;
    }
    if (!this.#copyIn(ref, bytes)) return INVALID_PARAMETER;
    return this.#target.hash.setMapping(this.#page, first, entries);
  }

  /** Copies the beginning of a granted page into the private one. */
  #copyIn(ref: number, length: number): boolean {
    this.copies++;
    return this.#target.grants.copyFrom(ref, 0, length, this.#page, 0) === GNTST.okay;
  }

  /** ADD and DEL: the list is copied once, then judged; DEL writes its verdicts back entry by entry. */
  #changeMappings(statics: StaticGrants, type: number, ref: number, count: number): number {
    const { grants } = this.#target;
    if (grants.map(ref, GNTMAP.host_map) !== GNTST.okay) return INVALID_PARAMETER;
    this.maps++;
    const { memory, offset, handle } = grants;
    const list = this.#page;
    list.copyFrom(0, memory.bytes, offset, count * GREF_SIZE);
    let status = SUCCESS;
    if (type === XEN_NETIF_CTRL_TYPE.ADD_GREF_MAPPING) {
      status = statics.add(list, count);
    } else {
      this.#data = statics.delete(list, count);
      for (let at = GREF_STATUS; at < count * GREF_SIZE; at += GREF_SIZE) {
        memory.view.setUint16(offset + at, list.view.getUint16(at, true), true);
      }
    }
    grants.unmap(handle);
    this.unmaps++;
    return status;
  }
}
