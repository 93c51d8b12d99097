/**
 * A hypervisor whose guest writes its rings by hand, and whose every call of the device is noted.
 *
 * @module
 */
import { LocalHost } from "../../core/host.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { VdpaDevice, type VdpaDeviceOptions } from "../../plugins/vdpa/device.ts";
import { GuestMemory } from "../../plugins/vdpa/guest_memory.ts";
import { Hypervisor } from "../../plugins/vdpa/hypervisor.ts";
import { errnoName, ioctlName, VHOST } from "../../plugins/vdpa/ioctls.ts";
import { vhost_msg_v2, vhost_vring_state } from "../../plugins/vdpa/layout.ts";
import type { VdpaModel } from "../../plugins/vdpa/models.ts";
import { ProcessMemory } from "../../plugins/vdpa/process_memory.ts";
import { VhostVdpa } from "../../plugins/vdpa/vhost.ts";
import { HandRing } from "./hand_ring.ts";

export const SIZE = 8;
export const FEATURES: readonly Feature[] = [
  "VERSION_1",
  "MRG_RXBUF",
  "CTRL_VQ",
  "EVENT_IDX",
  "INDIRECT_DESC",
];

/** A vhost-vdpa file that notes what is asked of it. */
export class Traced extends VhostVdpa {
  readonly trace: string[] = [];

  override ioctl(request: number, argument?: Uint8Array): number {
    const result = super.ioctl(request, argument);
    const name = ioctlName(request).replace(/^VHOST_(VDPA_)?/, "");
    let detail = "";
    if (request === VHOST.VDPA_SET_STATUS) detail = ` ${argument![0]}`;
    if (request === VHOST.VDPA_SET_GROUP_ASID || /VRING_BASE|VRING_ENABLE/.test(name)) {
      const { index, num } = vhost_vring_state.decode(argument!, 0, 8);
      detail = ` ${index}:${num}`;
    }
    this.trace.push(name + detail + (result < 0 ? ` ${errnoName(result)}` : ""));
    return result;
  }

  override write(message: Uint8Array): number {
    const values = vhost_msg_v2.decode(message);
    const type = ["", "MISS", "MAP", "UNMAP", "FAIL", "BEGIN", "END"][Number(values["iotlb.type"])];
    this.trace.push(`${type} ${values.asid}`);
    return super.write(message);
  }
}

export class Bench {
  readonly host = new LocalHost();
  readonly device: VdpaDevice;
  readonly file: Traced;
  readonly hypervisor: Hypervisor;
  readonly rings: HandRing[] = [];
  readonly #features: bigint;
  readonly #offset: number;

  constructor(
    model: VdpaModel,
    options: Partial<VdpaDeviceOptions> = {},
    shadow = false,
    offset = 0,
    switches: readonly number[] = [],
  ) {
    const process = new ProcessMemory();
    const guest = new GuestMemory(2 ** 32, this.host.space, process);
    const queues = options.queues ?? 3;
    const features = featureMask(...FEATURES.filter((name) => queues % 2 === 1 || name !== "CTRL_VQ"));
    this.device = new VdpaDevice({ model, queues, features, maxQueueSize: SIZE, process, ...options });
    this.file = new Traced(this.device, process);
    this.hypervisor = new Hypervisor({
      device: this.device,
      file: this.file,
      process,
      guest,
      pageSize: 4096,
      batch: true,
      shadow,
      switches,
    });
    this.#features = features;
    this.#offset = offset;
    this.start();
  }

  /** Resets the device and sets the first of its queues up, all if not said, as a guest does. */
  start(queues: number = this.device.nvqs): void {
    this.hypervisor.setStatus(0);
    this.hypervisor.setStatus(3);
    this.hypervisor.setFeatures(this.#features);
    this.hypervisor.setStatus(11);
    for (let index = 0; index < queues; index++) {
      const ring = new HandRing(this.host.memory, 0x4000 * index + this.#offset, SIZE);
      this.rings[index] = ring;
      this.hypervisor.startQueue(index, SIZE, ring.areas(this.host.dma.region.start));
    }
    this.hypervisor.setStatus(15);
  }

  /** What a switch asks of the device, less the reading of features and status and the sizes and eventfds of queues. */
  toggle(): string[] {
    this.file.trace.length = 0;
    this.hypervisor.migration.toggle();
    return this.file.trace.filter((step) => !/^(GET_STATUS|SET_VRING_(NUM|KICK|CALL|ADDR))/.test(step));
  }

  /** Has the guest send frames of one byte, and the device pass them on. */
  send(count: number): number {
    let sent = 0;
    const base = this.host.dma.region.start;
    for (let i = 0; i < count; i++) {
      this.rings[1]!.descriptor(i, base + 0x100000, 13);
      this.rings[1]!.offer(i);
    }
    this.hypervisor.kick(1);
    this.hypervisor.service({
      transmit: () => {
        sent++;
        return true;
      },
      drop: () => {},
    });
    return sent;
  }
}
