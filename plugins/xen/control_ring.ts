/**
 * The frontend's end of the control ring, and the messages a frontend sends over it.
 *
 * @module
 */
import { add32 } from "../../core/index.ts";
import { RingFault } from "../../core/fault.ts";
import type { Memory } from "../../core/memory.ts";
import { xen_netif_ctrl_request, xen_netif_ctrl_response } from "./layout.ts";
import { FrontRing } from "./shared_ring.ts";

const REQ_ID = xen_netif_ctrl_request.offsetOf("id");
const REQ_TYPE = xen_netif_ctrl_request.offsetOf("type");
const REQ_DATA0 = xen_netif_ctrl_request.offsetOf("data[0]");
const REQ_DATA1 = xen_netif_ctrl_request.offsetOf("data[1]");
const REQ_DATA2 = xen_netif_ctrl_request.offsetOf("data[2]");
const RSP_ID = xen_netif_ctrl_response.offsetOf("id");
const RSP_TYPE = xen_netif_ctrl_response.offsetOf("type");
const RSP_STATUS = xen_netif_ctrl_response.offsetOf("status");
const RSP_DATA = xen_netif_ctrl_response.offsetOf("data");

/** What a backend answered. */
export interface ControlAnswer {
  /** `XEN_NETIF_CTRL_STATUS_*`. */
  readonly status: number;
  /** Result; what it is depends on the message. */
  readonly data: number;
}

/** Sends control messages, one at a time. */
export class ControlClient {
  /** Messages sent so far. */
  messages = 0;
  readonly #ring: FrontRing;
  readonly #notify: (wanted: boolean) => void;
  #id = 0;
  #type = 0;
  #waiting = false;

  /**
   * Attaches to a ring page that was initialised.
   *
   * @param memory The memory that holds the page.
   * @param page Where it starts.
   * @param notify Called for each message; it says whether the backend wants to be notified.
   */
  constructor(memory: Memory, page: number, notify: (wanted: boolean) => void) {
    this.#ring = new FrontRing(memory, page, xen_netif_ctrl_request.size);
    this.#notify = notify;
  }

  /**
   * Sends a message.
   *
   * @throws {TypeError} If the last one was not yet answered.
   */
  send(type: number, data0: number, data1: number, data2: number): void {
    if (this.#waiting) throw new TypeError(`Cannot send a control message: ${this.#id} is not yet answered`);
    // Ids count from 1: Windows skips 0 as well.
    this.#id = (this.#id & 0xffff) === 0xffff ? 1 : this.#id + 1;
    this.#type = type;
    const ring = this.#ring;
    const slot = ring.slot(ring.reqProd);
    const view = ring.memory.view;
    view.setUint16(slot + REQ_ID, this.#id, true);
    view.setUint16(slot + REQ_TYPE, type, true);
    view.setUint32(slot + REQ_DATA0, data0, true);
    view.setUint32(slot + REQ_DATA1, data1, true);
    view.setUint32(slot + REQ_DATA2, data2, true);
    ring.reqProd = add32(ring.reqProd, 1);
    this.messages++;
    this.#waiting = true;
    this.#notify(ring.push());
  }

  /**
   * The answer to the last message, if it has come.
   *
   * @throws {RingFault} `ctrl-response-overrun` if there are more answers than messages,
   * `ctrl-response-mismatch` if the answer's id or type are not the message's.
   */
  poll(): ControlAnswer | undefined {
    const ring = this.#ring;
    const producer = ring.readProducer();
    if (ring.overflows(producer)) {
      throw new RingFault("driver", "ctrl", "ctrl-response-overrun", ring.rspCons, {
        rsp_prod: producer,
        req_prod: ring.published,
      });
    }
    if (producer === ring.rspCons) return undefined;
    const slot = ring.slot(ring.rspCons);
    const view = ring.memory.view;
    const id = view.getUint16(slot + RSP_ID, true);
    const type = view.getUint16(slot + RSP_TYPE, true);
    if (id !== this.#id || type !== this.#type) {
      const wanted = { id, type, wanted_id: this.#id, wanted_type: this.#type };
      throw new RingFault("driver", "ctrl", "ctrl-response-mismatch", ring.rspCons, wanted);
    }
    const answer = {
      status: view.getUint32(slot + RSP_STATUS, true),
      data: view.getUint32(slot + RSP_DATA, true),
    };
    ring.rspCons = add32(ring.rspCons, 1);
    ring.finalCheck();
    this.#waiting = false;
    return answer;
  }
}
