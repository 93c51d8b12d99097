import { backendMask, VHOST } from "../../plugins/vdpa/ioctls.ts";
import { DRIVER_OK } from "./face.ts";
import { ops, type Row, SET_GROUP_ASID, testRows, vduse } from "./vhost_rules.ts";

const reset: Row[] = [
  ["every group goes back to space 0", "0 0 0", (f) => {
    f.negotiate();
    for (const group of [0, 1, 2]) f.state(SET_GROUP_ASID, group, 1);
    f.status(0);
    return [0, 1, 2].map((group) => f.device.spaceOf(group).asid).join(" ");
  }],
  ["the status is 0", 0, (f) => (f.negotiate(), f.status(0), f.number(VHOST.VDPA_GET_STATUS), f.out)],
  ["features are cleared", 0, (f) => (f.negotiate(), f.status(0), Number(f.device.get_driver_features()))],
  ["queues are disabled", "false", (f) => {
    f.negotiate();
    f.state(VHOST.VDPA_SET_VRING_ENABLE, 0, 1);
    f.status(0);
    return String(f.device.get_vq_ready(0));
  }],
  ["a queue's position is forgotten", 0, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_BASE, 0, 77);
    f.status(0);
    f.state(VHOST.GET_VRING_BASE, 0);
    return f.out;
  }],
  ["it is no longer suspended: positions are the device's when it runs again", "EINVAL", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    f.status(0);
    f.start(DRIVER_OK);
    return f.state(VHOST.SET_VRING_BASE, 0, 5);
  }],
  ["with IOTLB_PERSIST the device's mappings live on", "1000-1fff", (f) => {
    f.negotiate(true).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.deviceMap(1);
  }],
  [
    "without it a device that can map 1:1 does so again",
    "0-7fffffffffffffff 8000000000000000-ffffffffffffffff",
    (f) => {
      f.negotiate(false).map(1, 0x1000, 0x1000);
      f.status(0);
      return f.deviceMap(1);
    },
    { kind: "sim" },
  ],
  ["without it another has no mappings left", "", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.deviceMap(1);
  }, vduse],
  ["the face's own table is not cleared", "1000-1fff", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.vhostMap(1);
  }],
  ["so the same mapping is refused until it is removed", "EFAULT", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.map(1, 0x1000, 0x1000);
  }],
  ["and both agree again with the next set_map", "1000-1fff 3000-3fff", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    f.map(1, 0x3000, 0x1000);
    return f.deviceMap(1);
  }],
  [
    "the first mapping drops the 1:1 map",
    "1000-1fff",
    (f) => (f.negotiate(), f.map(1, 0x1000, 0x1000), f.deviceMap(1)),
    {
      kind: "sim",
    },
  ],
  [
    "so does the first one that comes alone",
    "1000-1fff",
    (f) => (f.negotiate(), f.map(1, 0x1000, 0x1000), f.deviceMap(1)),
    { kind: "sim", tables: false },
  ],
  ["closing clears the face's table", "", (f) => {
    f.negotiate().map(0, 0x1000, 0x1000);
    f.file.close();
    return f.vhostMap(0);
  }],
  ["closing resets the map of the device", "0-7fffffffffffffff 8000000000000000-ffffffffffffffff", (f) => {
    f.negotiate().map(0, 0x1000, 0x1000);
    f.file.close();
    return f.deviceMap(0);
  }],
];

const backend: Row[] = [
  ["mlx5 shows everything", 0x1fe, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out)],
  ["sim lacks DESC_ASID", 0x17e, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out), { kind: "sim" }],
  [
    "plain shows IOTLB_ASID although it has one space",
    0x4e,
    (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out),
    {
      kind: "plain",
    },
  ],
  ["persistence follows from reset_map", 0xfe, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out), {
    persist: false,
  }],
  ["or the device says so", 0x1fe, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out), {
    persist: false,
    ops: ops({ get_backend_features: () => backendMask("IOTLB_PERSIST", "ENABLE_AFTER_DRIVER_OK") }),
  }],
  ["an unknown bit is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.number(VHOST.SET_BACKEND_FEATURES, 0x201)],
  ["bit 0 is unknown", "EOPNOTSUPP", (f) => f.number(VHOST.SET_BACKEND_FEATURES, 1)],
  ["SUSPEND without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("SUSPEND"), vduse],
  ["RESUME without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("RESUME"), vduse],
  ["DESC_ASID without IOTLB_ASID is EINVAL", "EINVAL", (f) => f.backend("DESC_ASID")],
  ["also on a device without descriptor groups", "EINVAL", (f) => f.backend("DESC_ASID"), { kind: "sim" }],
  ["DESC_ASID without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("DESC_ASID", "IOTLB_ASID"), {
    kind: "sim",
  }],
  ["IOTLB_PERSIST without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("IOTLB_PERSIST"), {
    kind: "plain",
  }],
  ["what is offered is accepted", "ok", (f) => f.number(VHOST.SET_BACKEND_FEATURES, 0x1fe)],
  ["no owner is needed", "ok", (f) => f.backend("IOTLB_MSG_V2")],
];

testRows("reset (3.4)", reset);
testRows("backend features (3.5)", backend);
