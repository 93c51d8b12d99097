import { VHOST } from "../../plugins/vdpa/ioctls.ts";
import { vhost_vdpa_config, vhost_vring_addr } from "../../plugins/vdpa/layout.ts";
import { ACK, BASIC, DRIVER, DRIVER_OK } from "./face.ts";
import { ops, type Row, testRows, vduse } from "./vhost_rules.ts";

/** A features array: how many words it says it has, and so many words. */
function words(count: number): Uint8Array {
  const argument = new BigUint64Array(1 + count);
  argument[0] = BigInt(count);
  return new Uint8Array(argument.buffer);
}

/** A memory table of so many regions of the given size, the last one at an address, of which `length` bytes are there. */
function table(regions: number, length = 8 + 32 * regions, padding = 0, last = 0n, size = 4096n): Uint8Array {
  const words = new BigUint64Array(1 + 4 * regions);
  words[0] = BigInt(regions) | BigInt(padding) << 32n;
  for (let i = 0; i < regions; i++) words[1 + 4 * i + 1] = size;
  if (regions > 0) words[1 + 4 * (regions - 1)] = last;
  return new Uint8Array(words.buffer, 0, length);
}

/** Addresses of queue 0 of which only the log's is not 0. */
function logAt(address: number): Uint8Array {
  return vhost_vring_addr.encode({ index: 0, log_guest_addr: address });
}

function config(off: number, len: number, room = len): Uint8Array {
  const argument = new Uint8Array(vhost_vdpa_config.size + room);
  argument.set(vhost_vdpa_config.encode({ off, len }).subarray(0, vhost_vdpa_config.size));
  return argument;
}

const ioctls: Row[] = [
  ["the device is a network device", 1, (f) => (f.number(VHOST.VDPA_GET_DEVICE_ID), f.out)],
  ["the queue count has the control queue in it", 3, (f) => (f.number(VHOST.VDPA_GET_VQS_COUNT), f.out)],
  ["the largest queue size is told", 256, (f) => (f.number(VHOST.VDPA_GET_VRING_NUM), f.out)],
  ["a queue's size is told", 64, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_NUM, 1, 64);
    f.state(VHOST.VDPA_GET_VRING_SIZE, 1);
    return f.out;
  }],
  ["no get_vq_size is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.owner(), f.state(VHOST.VDPA_GET_VRING_SIZE, 0)), {
    ops: ops({ get_vq_size: undefined }),
  }],
  ["queue ioctls need an owner", "EPERM", (f) => f.state(VHOST.SET_VRING_NUM, 0, 64)],
  ["there is one owner", "EBUSY", (f) => (f.owner(), f.owner())],
  [
    "a queue beyond the queues is ENOBUFS",
    "ENOBUFS",
    (f) => (f.owner(), f.state(VHOST.SET_VRING_NUM, 3, 64)),
  ],
  ["an unknown ioctl is ENOTTY", "ENOTTY", (f) => (f.owner(), f.number(0x4008af60))],
  ["the owner comes first", "EPERM", (f) => f.ioctl(VHOST.SET_VRING_NUM, new Uint8Array(4))],
  [
    "then the queue's index",
    "ENOBUFS",
    (f) => (f.owner(), f.ioctl(VHOST.SET_VRING_BASE, new Uint8Array([3, 0, 0, 0]))),
  ],
  [
    "an ioctl of a queue without an argument is EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.RESET_OWNER)),
  ],
  [
    "a pointer to too little is EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.SET_VRING_NUM, new Uint8Array(4))),
  ],
  ["status bits can be added", "ok", (f) => (f.status(ACK), f.status(DRIVER))],
  ["status bits cannot be taken away", "EINVAL", (f) => (f.status(DRIVER), f.status(ACK))],
  ["a status of 0 resets", "ok", (f) => (f.status(DRIVER), f.status(0))],
  ["features after FEATURES_OK are EBUSY", "EBUSY", (f) => (f.negotiate(), f.features(...BASIC))],
  ["features without ACCESS_PLATFORM are EINVAL", "EINVAL", (f) => f.features("VERSION_1")],
  ["features not offered are EINVAL", "EINVAL", (f) => f.features(...BASIC, "MQ")],
  [
    "features without what they need are EINVAL",
    "EINVAL",
    (f) => f.features("VERSION_1", "ACCESS_PLATFORM", "CTRL_RX"),
  ],
  [
    "features in words are vhost-net's",
    "ENOTTY ENOTTY",
    (
      f,
    ) => (f.owner(),
      `${f.ioctl(VHOST.GET_FEATURES_ARRAY, words(2))} ${f.ioctl(VHOST.SET_FEATURES_ARRAY, words(1))}`),
  ],
  [
    "what is not known passes for an ioctl of a queue, words for its index",
    "ENOBUFS",
    (f) => (f.owner(), f.ioctl(VHOST.GET_FEATURES_ARRAY, words(3))),
  ],
  [
    "addresses of a running queue are EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.address(0, 0, 0, 0)),
  ],
  [
    "the position of a running queue is EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(VHOST.SET_VRING_BASE, 0, 1)),
  ],
  ["suspended, both are taken", "ok ok", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    return `${f.address(0, 0, 0, 0)} ${f.state(VHOST.SET_VRING_BASE, 0, 1)}`;
  }],
  ["resumed, not any more", "EINVAL", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    f.ioctl(VHOST.VDPA_RESUME);
    return f.state(VHOST.SET_VRING_BASE, 0, 1);
  }],
  ["a position is 16 bits", "EINVAL", (f) => (f.negotiate(), f.state(VHOST.SET_VRING_BASE, 0, 0x10000))],
  ["the largest position is taken", 0xffff, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_BASE, 0, 0xffff);
    f.state(VHOST.GET_VRING_BASE, 0);
    return f.out;
  }],
  [
    "a misaligned descriptor table is the device's affair",
    "ok",
    (f) => (f.negotiate(), f.address(0, 8, 0, 0)),
  ],
  ["a misaligned available ring is EINVAL", "EINVAL", (f) => (f.negotiate(), f.address(0, 0, 1, 0))],
  ["a misaligned used ring is EINVAL", "EINVAL", (f) => (f.negotiate(), f.address(0, 0, 0, 2))],
  ["a misaligned log is EINVAL", "EINVAL", (f) => (f.negotiate(), f.ioctl(VHOST.SET_VRING_ADDR, logAt(2)))],
  ["an unknown address flag is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.negotiate(), f.address(0, 0, 0, 0, 2))],
  [
    "a queue size that is no power of two is EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.state(VHOST.SET_VRING_NUM, 0, 100)),
  ],
  ["a queue size of 0 is EINVAL", "EINVAL", (f) => (f.negotiate(), f.state(VHOST.SET_VRING_NUM, 0, 0))],
  [
    "a queue size beyond the largest is EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.state(VHOST.SET_VRING_NUM, 0, 512)),
  ],
  ["SUSPEND before DRIVER_OK does nothing", "ok", (f) => (f.negotiate(), f.ioctl(VHOST.VDPA_SUSPEND))],
  ["also where it is not supported", "ok", (f) => (f.negotiate(), f.ioctl(VHOST.VDPA_SUSPEND)), vduse],
  ["RESUME before DRIVER_OK does nothing", "ok", (f) => (f.negotiate(), f.ioctl(VHOST.VDPA_RESUME)), vduse],
  [
    "SUSPEND without support is EOPNOTSUPP",
    "EOPNOTSUPP",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.ioctl(VHOST.VDPA_SUSPEND)),
    vduse,
  ],
  ["a log is not taken", "ENOTTY", (f) => (f.owner(), f.number(VHOST.SET_LOG_BASE))],
  ["nor a file for one, and no owner is asked for", "ENOTTY", (f) => f.number(VHOST.SET_LOG_FD)],
  [
    "a memory table is taken and nothing comes of it",
    "ok ",
    (f) => (f.negotiate(), `${f.ioctl(VHOST.SET_MEM_TABLE, table(64))} ${f.vhostMap(0)}`),
  ],
  ["a memory table needs an owner", "EPERM", (f) => f.ioctl(VHOST.SET_MEM_TABLE, table(1))],
  ["more than 64 regions are E2BIG", "E2BIG", (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(65)))],
  [
    "a memory table with padding is EOPNOTSUPP",
    "EOPNOTSUPP",
    (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(1, 40, 1))),
  ],
  [
    "fewer regions than are promised are EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(2, 71))),
  ],
  [
    "a region that wraps is EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(1, 40, 0, 2n ** 64n - 1n, 2n))),
  ],
  ["eventfds for kicks, calls and errors are taken", "ok ok ok", (f) => {
    f.owner();
    const { SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR } = VHOST;
    return [SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR].map((request) => f.state(request, 0, 5)).join(" ");
  }],
  [
    "an eventfd for changes of the configuration is taken",
    "ok",
    (f) => f.number(VHOST.VDPA_SET_CONFIG_CALL, 5),
  ],
  ["how long to poll is kept for each queue", "0 50", (f) => {
    f.owner();
    f.state(VHOST.SET_VRING_BUSYLOOP_TIMEOUT, 1, 50);
    return [0, 1].map((index) => (f.state(VHOST.GET_VRING_BUSYLOOP_TIMEOUT, index), f.out)).join(" ");
  }],
  ["a queue is enabled and disabled", "true false", (f) => {
    f.negotiate();
    return [1, 0].map((ready) => (f.state(VHOST.VDPA_SET_VRING_ENABLE, 0, ready), f.device.get_vq_ready(0)))
      .join(" ");
  }],
  ["the position of a running queue is told, whatever it is worth", 7, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_BASE, 0, 7);
    f.status(DRIVER_OK);
    f.state(VHOST.GET_VRING_BASE, 0);
    return f.out;
  }],
  ["the size of the configuration is told", 24, (f) => (f.number(VHOST.VDPA_GET_CONFIG_SIZE), f.out)],
  ["the configuration is read in pieces", "020000000001", (f) => {
    const argument = config(0, 6);
    f.ioctl(VHOST.VDPA_GET_CONFIG, argument);
    return argument.subarray(vhost_vdpa_config.size).toHex();
  }],
  ["no bytes of configuration are EINVAL", "EINVAL", (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(0, 0))],
  ["configuration beyond its end is EINVAL", "EINVAL", (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(25, 1))],
  [
    "configuration over its end is EINVAL, too",
    "EINVAL",
    (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(20, 5)),
  ],
  ["room for less than is asked is EFAULT", "EFAULT", (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(0, 6, 3))],
  [
    "the configuration can be written, to no effect",
    "ok",
    (f) => f.ioctl(VHOST.VDPA_SET_CONFIG, config(0, 6)),
  ],
  ["all addresses can be used if the device does not say", "0000000000000000ffffffffffffffff", (f) => {
    const argument = new Uint8Array(16);
    f.ioctl(VHOST.VDPA_GET_IOVA_RANGE, argument);
    return argument.toHex();
  }],
];

testRows("ioctls (3.7)", ioctls);
