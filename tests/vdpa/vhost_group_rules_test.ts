import { assertEquals, assertThrows } from "@std/assert";
import { VHOST } from "../../plugins/vdpa/ioctls.ts";
import { VhostError } from "../../plugins/vdpa/vhost.ts";
import { DRIVER_OK, Face } from "./face.ts";
import { GET_DESC_GROUP, GET_GROUP, ops, type Row, SET_GROUP_ASID, testRows, vduse } from "./vhost_rules.ts";

const groups: Row[] = [
  ["mlx5 has data queues in group 0", 0, (f) => (f.owner(), f.state(GET_GROUP, 1), f.out)],
  ["mlx5 has its control queue in group 1", 1, (f) => (f.owner(), f.state(GET_GROUP, 2), f.out)],
  ["mlx5 has rings of data queues in group 2", 2, (f) => (f.owner(), f.state(GET_DESC_GROUP, 0), f.out)],
  [
    "mlx5 has its control queue's rings in that queue's own group",
    1,
    (f) => (f.owner(), f.state(GET_DESC_GROUP, 2), f.out),
  ],
  ["mlx5 has 3 groups", 3, (f) => (f.number(VHOST.VDPA_GET_GROUP_NUM), f.out)],
  ["mlx5 has 2 address spaces", 2, (f) => (f.number(VHOST.VDPA_GET_AS_NUM), f.out)],
  ["sim has 2 groups", 2, (f) => (f.number(VHOST.VDPA_GET_GROUP_NUM), f.out), { kind: "sim" }],
  ["sim has its control queue in group 1", 1, (f) => (f.owner(), f.state(GET_GROUP, 2), f.out), {
    kind: "sim",
  }],
  ["sim has no descriptor groups", "EOPNOTSUPP", (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)), {
    kind: "sim",
  }],
  ["vduse has no descriptor groups", "EOPNOTSUPP", (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)), vduse],
  ["plain has one group", 1, (f) => (f.number(VHOST.VDPA_GET_GROUP_NUM), f.out), { kind: "plain" }],
  [
    "a firmware without descriptor groups has no operation for them",
    "EOPNOTSUPP",
    (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)),
    { descGroup: false },
  ],
  ["a queue's group beyond the groups is EIO", "EIO", (f) => (f.owner(), f.state(GET_GROUP, 0)), {
    ops: ops({ get_vq_group: () => 3 }),
  }],
  [
    "a queue's descriptor group beyond the groups is EIO",
    "EIO",
    (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)),
    {
      ops: ops({ get_vq_desc_group: () => 3 }),
    },
  ],
  ["no get_vq_group is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.owner(), f.state(GET_GROUP, 0)), {
    ops: ops({ get_vq_group: undefined }),
  }],
  ["a queue beyond the queues is ENOBUFS", "ENOBUFS", (f) => (f.owner(), f.state(GET_DESC_GROUP, 3))],
];

const binding: Row[] = [
  ["a group can be bound before DRIVER_OK", "ok", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 2, 1))],
  [
    "a binding needs no mapping",
    1,
    (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 2, 1), f.device.spaceOf(2).asid),
  ],
  [
    "a group below the groups but not below the queue count is ENOBUFS",
    "ENOBUFS",
    (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 3, 1)),
    vduse,
  ],
  [
    "the queue count is checked before DRIVER_OK",
    "ENOBUFS",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(SET_GROUP_ASID, 3, 1)),
    vduse,
  ],
  ["a group beyond the groups is EINVAL", "EINVAL", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 2, 0)), {
    kind: "sim",
  }],
  ["a space beyond the spaces is EINVAL", "EINVAL", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 0, 2))],
  ["the device says so itself", "-22 -22", (f) => {
    return `${f.device.set_group_asid(3, 0)} ${f.device.set_group_asid(0, 2)}`;
  }],
  ["DRIVER_OK is EBUSY", "EBUSY", (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(SET_GROUP_ASID, 2, 1))],
  [
    "DRIVER_OK is checked before the bounds",
    "EBUSY",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(SET_GROUP_ASID, 0, 9)),
  ],
  ["merely suspended is EBUSY", "EBUSY", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    return f.state(SET_GROUP_ASID, 2, 1);
  }],
  ["after a reset it is allowed again", "ok", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    f.status(0);
    return f.state(SET_GROUP_ASID, 2, 1);
  }],
  [
    "the bounds are checked before the operation is missed",
    "EINVAL",
    (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 0, 2)),
    { ops: ops({ set_group_asid: undefined }) },
  ],
  ["no set_group_asid is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 0, 1)), {
    ops: ops({ set_group_asid: undefined }),
  }],
  [
    "the device itself refuses while it runs",
    -16,
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.device.set_group_asid(2, 1)),
  ],
];

testRows("groups (3.2)", groups);
testRows("SET_GROUP_ASID (3.3)", binding);

Deno.test("vhost-vdpa, groups (3.2): a device without map operations is refused when it is opened", () => {
  const open = () => new Face({ ops: ops({ set_map: undefined, dma_map: undefined }) });
  assertEquals(assertThrows(open, VhostError).code, "EOPNOTSUPP");
});
