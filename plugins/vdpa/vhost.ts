/**
 * The vhost-vdpa face of a device: what `/dev/vhost-vdpa-N` does with ioctls and writes, in the order in which the kernel
 * checks (drivers/vhost/vdpa.c, vhost.c).
 *
 * Results are 0 (or a byte count) or a negative error number, as a system call gives them. The argument of an ioctl is
 * the memory that its pointer would name. Eventfds are numbers: {@linkcode VhostVdpa.kick} stands for a write to one that
 * was set as a kick, {@linkcode VhostVdpa.call} is called with one that was set as a call.
 *
 * @module
 */
import type { Doorbell } from "../../core/plugin.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import { AVAIL_ALIGN, USED_ALIGN } from "../virtio/ring_areas.ts";
import { STATUS } from "../virtio/transport.ts";
import { VDPA_RESET_F_CLEAN_MAP, type VdpaConfigOps } from "./config_ops.ts";
import {
  argumentSize,
  type BackendFeature,
  backendMask,
  ERRNO,
  errnoName,
  hasBackendFeature,
  VHOST,
} from "./ioctls.ts";
import { LAST_ADDRESS } from "./iotlb.ts";
import {
  VHOST_IOTLB,
  VHOST_IOTLB_MSG,
  vhost_iotlb_msg,
  VHOST_IOTLB_MSG_V2,
  vhost_msg,
  vhost_msg_v2,
  vhost_vdpa_config,
  vhost_vdpa_iova_range,
  vhost_vring_addr,
  vhost_vring_file,
} from "./layout.ts";
import type { ProcessMemory } from "./process_memory.ts";
import { checkMemoryTable, put32, put64, putState, state } from "./vhost_arguments.ts";
import { VhostTables } from "./vhost_iotlb.ts";

/** Shown by every device, also one with a single address space. */
const ALWAYS: bigint = backendMask("IOTLB_MSG_V2", "IOTLB_BATCH", "IOTLB_ASID");
const KNOWN: bigint = ALWAYS |
  backendMask("SUSPEND", "RESUME", "ENABLE_AFTER_DRIVER_OK", "DESC_ASID", "IOTLB_PERSIST");
const LOG_FLAG = 1;
const LAST_INDEX = 0xffff;
const UNBOUND = 0xffffffff;
const U32 = 4;

/** A vhost-vdpa file, or an operation on it, failed. */
export class VhostError extends Error {
  /** Always `"VhostError"`. */
  override readonly name = "VhostError";
  /** Name of the error number: `EBUSY`. */
  readonly code: string;

  /** Says what failed, with which negative error number. */
  constructor(action: string, result: number) {
    super(`${action} failed: ${errnoName(result)}`);
    this.code = errnoName(result);
  }
}

/** See the module. */
export class VhostVdpa {
  /** What has been mapped. */
  readonly tables: VhostTables;
  /** Called with the eventfd of a queue whose buffers were used. */
  call: Doorbell = ignore;
  /** Resets by status. */
  resets = 0;
  readonly #ops: VdpaConfigOps;
  /** Queues by eventfd, and eventfds by queue. */
  readonly #kicks: Map<number, number> = new Map();
  readonly #calls: number[] = [];
  readonly #busyloopTimeouts: number[] = [];
  /** One for all queues: an engine that had seen another one for each would inline none. */
  readonly #interrupt: Doorbell = (idx) => this.call(this.#calls[idx]!);
  #owned = false;
  #suspended = false;
  #backendFeatures = 0n;

  /**
   * Opens a device.
   *
   * @param ops The device.
   * @param process Memory of the process that opens it.
   * @param pageSize Bytes of a page, for counting.
   * @throws {VhostError} `EOPNOTSUPP` if the device has no map operations: it would need a platform IOMMU, which is not
   *   modelled here (and with which the kernel refuses more than one group or address space).
   */
  constructor(ops: VdpaConfigOps, process: ProcessMemory, pageSize: number = 4096) {
    if (!ops.set_map && !ops.dma_map) throw new VhostError("Opening the device", -ERRNO.EOPNOTSUPP);
    this.#ops = ops;
    this.tables = new VhostTables(ops, process, pageSize);
  }

  /** Backend features that were acknowledged. */
  get backendFeatures(): bigint {
    return this.#backendFeatures;
  }

  /** Closes the file: the device is reset, and everything is unmapped. */
  close(): void {
    this.#reset();
    this.tables.close();
    this.#kicks.clear();
    this.#owned = false;
    this.#backendFeatures = 0n;
  }

  /** Writes to an eventfd that was set as a queue's kick. */
  kick(fd: number): void {
    const idx = this.#kicks.get(fd);
    if (idx !== undefined) this.#ops.kick_vq(idx);
  }

  /** An ioctl. `argument` is read, written or both, as the request says. */
  ioctl(request: number, argument: Uint8Array = new Uint8Array(0)): number {
    const view = new DataView(argument.buffer, argument.byteOffset, argument.length);
    // No device tells which pages it wrote: that is what shadow virtqueues are for.
    if (request === VHOST.SET_LOG_BASE || request === VHOST.SET_LOG_FD) return -ERRNO.ENOTTY;
    if (request === VHOST.SET_OWNER) return this.#setOwner();
    if (!FILE_IOCTLS.has(request)) return this.#ownerIoctl(request, argument, view);
    if (argument.length < argumentSize(request)) return -ERRNO.EFAULT;
    const ops = this.#ops;
    switch (request) {
      case VHOST.SET_BACKEND_FEATURES:
        return this.#setBackendFeatures(view.getBigUint64(0, true));
      case VHOST.GET_BACKEND_FEATURES:
        return put64(view, this.#offeredBackendFeatures());
      case VHOST.GET_FEATURES:
        return put64(view, ops.get_device_features());
      case VHOST.SET_FEATURES:
        return this.#setFeatures(view.getBigUint64(0, true));
      case VHOST.VDPA_GET_DEVICE_ID:
        return put32(view, ops.get_device_id());
      case VHOST.VDPA_GET_STATUS:
        view.setUint8(0, ops.get_status());
        return 0;
      case VHOST.VDPA_SET_STATUS:
        return this.#setStatus(view.getUint8(0));
      case VHOST.VDPA_GET_CONFIG:
      case VHOST.VDPA_SET_CONFIG:
        return this.#config(argument, request === VHOST.VDPA_SET_CONFIG);
      case VHOST.VDPA_GET_CONFIG_SIZE:
        return put32(view, ops.get_config_size());
      case VHOST.VDPA_GET_VRING_NUM:
        view.setUint16(0, ops.get_vq_num_max(), true);
        return 0;
      case VHOST.VDPA_GET_VQS_COUNT:
        return put32(view, ops.nvqs);
      case VHOST.VDPA_GET_GROUP_NUM:
        return put32(view, ops.ngroups);
      case VHOST.VDPA_GET_AS_NUM:
        return put32(view, ops.nas);
      case VHOST.VDPA_GET_IOVA_RANGE: {
        const range = ops.get_iova_range?.() ?? { first: 0n, last: LAST_ADDRESS };
        argument.set(vhost_vdpa_iova_range.encode({ first: range.first, last: range.last }));
        return 0;
      }
      case VHOST.VDPA_SUSPEND:
      case VHOST.VDPA_RESUME:
        return this.#suspendResume(request === VHOST.VDPA_SUSPEND);
      default:
        // SET_CONFIG_CALL: the configuration never changes.
        return 0;
    }
  }

  #setOwner(): number {
    if (this.#owned) return -ERRNO.EBUSY;
    this.#owned = true;
    return 0;
  }

  #offeredBackendFeatures(): bigint {
    const { suspend, resume, get_vq_desc_group, reset_map, get_backend_features } = this.#ops;
    const features: BackendFeature[] = [];
    if (suspend) features.push("SUSPEND");
    if (resume) features.push("RESUME");
    if (get_vq_desc_group) features.push("DESC_ASID");
    if (reset_map) features.push("IOTLB_PERSIST");
    return ALWAYS | backendMask(...features) | (get_backend_features?.call(this.#ops) ?? 0n);
  }

  #setBackendFeatures(features: bigint): number {
    if ((features & ~KNOWN) !== 0n) return -ERRNO.EOPNOTSUPP;
    const offered = this.#offeredBackendFeatures();
    const lacks = (feature: BackendFeature) =>
      hasBackendFeature(features, feature) && !hasBackendFeature(offered, feature);
    if (lacks("SUSPEND") || lacks("RESUME")) return -ERRNO.EOPNOTSUPP;
    if (hasBackendFeature(features, "DESC_ASID") && !hasBackendFeature(features, "IOTLB_ASID")) {
      return -ERRNO.EINVAL;
    }
    if (lacks("DESC_ASID") || lacks("IOTLB_PERSIST")) return -ERRNO.EOPNOTSUPP;
    this.#backendFeatures = features;
    return 0;
  }

  #setFeatures(features: bigint): number {
    if (this.#ops.get_status() & STATUS.FEATURES_OK) return -ERRNO.EBUSY;
    return this.#ops.set_driver_features(features) < 0 ? -ERRNO.EINVAL : 0;
  }

  /** Bits can be added, or all be taken away by a reset. */
  #setStatus(status: number): number {
    if (status === 0) return this.#reset();
    if ((this.#ops.get_status() & ~status) !== 0) return -ERRNO.EINVAL;
    this.#ops.set_status(status);
    return 0;
  }

  #reset(): number {
    this.#suspended = false;
    this.resets++;
    const persist = hasBackendFeature(this.#backendFeatures, "IOTLB_PERSIST");
    if (this.#ops.compat_reset && !persist) return this.#ops.compat_reset(VDPA_RESET_F_CLEAN_MAP);
    return this.#ops.reset();
  }

  #suspendResume(suspend: boolean): number {
    const ops = this.#ops;
    if (!(ops.get_status() & STATUS.DRIVER_OK)) return 0;
    const operation = suspend ? ops.suspend : ops.resume;
    if (!operation) return -ERRNO.EOPNOTSUPP;
    const result = operation.call(ops);
    if (result === 0) this.#suspended = suspend;
    return result;
  }

  #config(argument: Uint8Array, write: boolean): number {
    const header = vhost_vdpa_config.decode(argument, 0, vhost_vdpa_config.size);
    const off = header.off as number;
    const len = header.len as number;
    const size = this.#ops.get_config_size();
    if (len === 0 || off > size || len > size - off) return -ERRNO.EINVAL;
    const buf = argument.subarray(vhost_vdpa_config.size, vhost_vdpa_config.size + len);
    if (buf.length < len) return -ERRNO.EFAULT;
    if (write) this.#ops.set_config(off, buf);
    else buf.set(this.#ops.get_config(off, len));
    return 0;
  }

  /**
   * What only an owner may do. But for the memory table, whatever it is passes for an ioctl of a virtqueue: its argument
   * starts with an index, and that is compared with the queue count before anything else is looked at.
   */
  #ownerIoctl(request: number, argument: Uint8Array, view: DataView): number {
    if (!this.#owned) return -ERRNO.EPERM;
    if (request === VHOST.SET_MEM_TABLE) return checkMemoryTable(argument);
    if (argument.length < U32) return -ERRNO.EFAULT;
    const ops = this.#ops;
    const idx = view.getUint32(0, true);
    if (idx >= ops.nvqs) return -ERRNO.ENOBUFS;
    if (argument.length < argumentSize(request)) return -ERRNO.EFAULT;
    switch (request) {
      case VHOST.VDPA_SET_VRING_ENABLE:
        ops.set_vq_ready(idx, state(argument) !== 0);
        return 0;
      case VHOST.VDPA_GET_VRING_GROUP:
        return this.#getGroup(argument, idx, ops.get_vq_group);
      case VHOST.VDPA_GET_VRING_DESC_GROUP:
        return this.#getGroup(argument, idx, ops.get_vq_desc_group);
      case VHOST.VDPA_SET_GROUP_ASID:
        return this.#setGroupAsid(idx, state(argument));
      case VHOST.VDPA_GET_VRING_SIZE:
        if (!ops.get_vq_size) return -ERRNO.EOPNOTSUPP;
        return putState(argument, idx, ops.get_vq_size(idx));
      case VHOST.GET_VRING_BASE: {
        const index = ops.get_vq_state(idx);
        return index < 0 ? index : putState(argument, idx, index);
      }
      case VHOST.SET_VRING_BASE:
        if (state(argument) > LAST_INDEX || this.#isRunning()) return -ERRNO.EINVAL;
        return ops.set_vq_state(idx, state(argument));
      case VHOST.SET_VRING_NUM: {
        const num = state(argument);
        if (!isPowerOfTwo(num) || num > ops.get_vq_num_max()) return -ERRNO.EINVAL;
        ops.set_vq_num(idx, num);
        return 0;
      }
      case VHOST.SET_VRING_ADDR:
        return this.#setAddress(argument, idx);
      case VHOST.SET_VRING_KICK:
      case VHOST.SET_VRING_CALL:
      case VHOST.SET_VRING_ERR:
        return this.#setEventFd(request, argument, idx);
      case VHOST.SET_VRING_BUSYLOOP_TIMEOUT:
        this.#busyloopTimeouts[idx] = state(argument);
        return 0;
      case VHOST.GET_VRING_BUSYLOOP_TIMEOUT:
        return putState(argument, idx, this.#busyloopTimeouts[idx] ?? 0);
      default:
        return -ERRNO.ENOTTY;
    }
  }

  /** Whether positions and addresses of queues are the device's alone. */
  #isRunning(): boolean {
    return (this.#ops.get_status() & STATUS.DRIVER_OK) !== 0 && !this.#suspended;
  }

  #getGroup(argument: Uint8Array, idx: number, operation: ((idx: number) => number) | undefined): number {
    if (!operation) return -ERRNO.EOPNOTSUPP;
    const group = operation.call(this.#ops, idx);
    return group >= this.#ops.ngroups ? -ERRNO.EIO : putState(argument, idx, group);
  }

  /** Suspended does not help: DRIVER_OK is still set then. */
  #setGroupAsid(group: number, asid: number): number {
    const ops = this.#ops;
    if (ops.get_status() & STATUS.DRIVER_OK) return -ERRNO.EBUSY;
    if (group >= ops.ngroups || asid >= ops.nas) return -ERRNO.EINVAL;
    if (!ops.set_group_asid) return -ERRNO.EOPNOTSUPP;
    return ops.set_group_asid(group, asid);
  }

  #setAddress(argument: Uint8Array, idx: number): number {
    const values = vhost_vring_addr.decode(argument, 0, vhost_vring_addr.size);
    if ((values.flags as number) & ~LOG_FLAG) return -ERRNO.EOPNOTSUPP;
    const desc = values.desc_user_addr as bigint;
    const avail = values.avail_user_addr as bigint;
    const used = values.used_user_addr as bigint;
    const log = values.log_guest_addr as bigint;
    // The descriptor table's alignment is left to the device.
    const aligned = avail % BigInt(AVAIL_ALIGN) === 0n && (used | log) % BigInt(USED_ALIGN) === 0n;
    if (!aligned || this.#isRunning()) return -ERRNO.EINVAL;
    return this.#ops.set_vq_address(idx, desc, avail, used) < 0 ? -ERRNO.EINVAL : 0;
  }

  #setEventFd(request: number, argument: Uint8Array, idx: number): number {
    const fd = vhost_vring_file.decode(argument, 0, vhost_vring_file.size).fd as number;
    if (request === VHOST.SET_VRING_KICK) {
      for (const [known, queue] of this.#kicks) if (queue === idx) this.#kicks.delete(known);
      if (fd !== UNBOUND) this.#kicks.set(fd, idx);
    } else if (request === VHOST.SET_VRING_CALL) {
      this.#calls[idx] = fd;
      this.#ops.set_vq_cb(idx, fd === UNBOUND ? undefined : this.#interrupt);
    }
    return 0;
  }

  /** A write of an IOTLB message. Whatever its handler finds wrong shows as `EFAULT`. */
  write(message: Uint8Array): number {
    if (message.length < 4) return -ERRNO.EINVAL;
    const type = new DataView(message.buffer, message.byteOffset).getUint32(0, true);
    if (type !== VHOST_IOTLB_MSG && type !== VHOST_IOTLB_MSG_V2) return -ERRNO.EINVAL;
    const form = type === VHOST_IOTLB_MSG ? vhost_msg : vhost_msg_v2;
    const at = form.offsetOf("iotlb.iova");
    if (message.length < at + vhost_iotlb_msg.size) return -ERRNO.EINVAL;
    const values = vhost_iotlb_msg.decode(message, at, vhost_iotlb_msg.size);
    const useAsid = type === VHOST_IOTLB_MSG_V2 && hasBackendFeature(this.#backendFeatures, "IOTLB_ASID");
    const asid = useAsid
      ? new DataView(message.buffer, message.byteOffset).getUint32(form.offsetOf("asid"), true)
      : 0;
    const body = {
      iova: values.iova as bigint,
      size: values.size as bigint,
      uaddr: values.uaddr as bigint,
      perm: values.perm as number,
      type: values.type as number,
    };
    if (body.type === VHOST_IOTLB.UPDATE && body.size === 0n) return -ERRNO.EINVAL;
    if (!this.#owned || this.tables.handle(asid, body) < 0) return -ERRNO.EFAULT;
    return form.size;
  }
}

/** What needs no owner. */
const FILE_IOCTLS: ReadonlySet<number> = new Set([
  VHOST.SET_BACKEND_FEATURES,
  VHOST.GET_BACKEND_FEATURES,
  VHOST.GET_FEATURES,
  VHOST.SET_FEATURES,
  VHOST.VDPA_GET_DEVICE_ID,
  VHOST.VDPA_GET_STATUS,
  VHOST.VDPA_SET_STATUS,
  VHOST.VDPA_GET_CONFIG,
  VHOST.VDPA_SET_CONFIG,
  VHOST.VDPA_GET_CONFIG_SIZE,
  VHOST.VDPA_SET_CONFIG_CALL,
  VHOST.VDPA_GET_VRING_NUM,
  VHOST.VDPA_GET_VQS_COUNT,
  VHOST.VDPA_GET_GROUP_NUM,
  VHOST.VDPA_GET_AS_NUM,
  VHOST.VDPA_GET_IOVA_RANGE,
  VHOST.VDPA_SUSPEND,
  VHOST.VDPA_RESUME,
]);

function ignore(): void {}
