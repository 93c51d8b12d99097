/**
 * Builds the first file system of a Linux guest: a shell, the modules of a network driver, and a script.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";

const encoder = new TextEncoder();

/** Where unpacked kernels are looked for: `boot/vmlinuz-*` and `lib/modules/*` below. */
const KERNEL_ROOTS = [Deno.env.get("GUEST_KERNEL"), "/opt/guest-kernel", "/"];

/** A guest kernel with its modules. */
export interface GuestKernel {
  /** The bootable image. */
  readonly image: string;
  /** The directory of its modules. */
  readonly modules: string;
}

/** Finds a cloud kernel, which boots in an emulator within seconds. */
export function findKernel(): GuestKernel | undefined {
  for (const root of KERNEL_ROOTS) {
    if (!root) continue;
    try {
      for (const { name } of Deno.readDirSync(`${root}/boot`)) {
        const version = /^vmlinuz-(.*cloud.*)$/.exec(name)?.[1];
        if (!version) continue;
        const modules = `${root}/lib/modules/${version}/kernel`;
        if (Deno.statSync(modules).isDirectory) return { image: `${root}/boot/${name}`, modules };
      }
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** Modules in the order in which they must be loaded; a kernel that has one built in has no file of it. */
const MODULES = [
  "drivers/virtio/virtio_ring.ko",
  "drivers/virtio/virtio.ko",
  "drivers/virtio/virtio_pci_legacy_dev.ko",
  "drivers/virtio/virtio_pci_modern_dev.ko",
  "drivers/virtio/virtio_pci.ko",
  "net/core/failover.ko",
  "drivers/net/net_failover.ko",
  "drivers/net/virtio_net.ko",
];

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** One entry of a cpio archive in the "newc" format. */
function entry(name: string, mode: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const path = encoder.encode(`${name}\0`);
  const numbers = [0, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0];
  const head = encoder.encode(`070701${numbers.map((n) => n.toString(16).padStart(8, "0")).join("")}`);
  const pad = (length: number) => new Uint8Array(-length & 3);
  return concat([head, path, pad(head.length + path.length), content, pad(content.length)]);
}

function readModule(kernel: GuestKernel, path: string): Uint8Array | undefined {
  try {
    return Deno.readFileSync(`${kernel.modules}/${path}`);
  } catch {
    return undefined;
  }
}

/**
 * Writes an initramfs into `directory`.
 *
 * @param kernel Whose modules it carries.
 * @param script What the guest runs once `eth0` is there: a shell script. Then it powers off.
 * @returns The file's path.
 */
export function buildInitramfs(kernel: GuestKernel, script: string, directory: string): string {
  const busybox = ["/usr/bin/busybox", "/bin/busybox"].find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
  if (!busybox) throw new Error("There is no busybox");
  const modules = MODULES.flatMap((path) => {
    const content = readModule(kernel, path);
    return content ? [{ name: path.split("/").at(-1)!, content }] : [];
  });
  const loads = modules.map(({ name }) => `insmod /m/${name}`).join("\n");
  const init = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
${loads}
for i in $(seq 100); do [ -e /sys/class/net/eth0 ] && break; usleep 20000; done
sh /script 2>&1
echo GUEST-END
poweroff -f
`;
  const archive = concat([
    entry("bin", S_IFDIR | 0o755, new Uint8Array()),
    entry("m", S_IFDIR | 0o755, new Uint8Array()),
    entry("bin/busybox", S_IFREG | 0o755, Deno.readFileSync(busybox)),
    entry("bin/sh", S_IFLNK | 0o777, encoder.encode("busybox")),
    ...modules.map(({ name, content }) => entry(`m/${name}`, S_IFREG | 0o644, content)),
    entry("script", S_IFREG | 0o644, encoder.encode(script)),
    entry("init", S_IFREG | 0o755, encoder.encode(init)),
    entry("TRAILER!!!", 0, new Uint8Array()),
  ]);
  const path = `${directory}/initramfs`;
  Deno.writeFileSync(path, archive);
  return path;
}
