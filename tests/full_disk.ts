/**
 * Files that cannot grow, for tests of what becomes of an output.
 *
 * @module
 */

/** Bytes that a disk of {@linkcode onSmallDisk} has room for. */
export const DISK_SIZE = 65536;

const OWN_MOUNTS = ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"];
const SCRIPT = `
  disk=$1 result=$2
  shift 2
  mount -t tmpfs -o size=${DISK_SIZE} none "$disk" || exit
  "$@"
  status=$?
  cp "$disk"/* "$result"
  exit $status
`;

/**
 * What comes before a command that sees a small disk at an empty directory. Nobody else sees it, so what it leaves there
 * is copied to another directory at its end.
 */
export function onSmallDisk(disk: string, result: string): string[] {
  return [...OWN_MOUNTS, "sh", "-c", SCRIPT, "sh", disk, result];
}

/** Has files of a process not grow beyond so many bytes from now on. */
export async function limitFiles(pid: number, bytes: number): Promise<void> {
  // Not at its start: then the runtime, which keeps files of its own, would be ended at once.
  const args = ["--pid", `${pid}`, `--fsize=${bytes}`];
  const { success } = await new Deno.Command("prlimit", { args }).output();
  if (!success) throw new Error("Cannot limit the files of a process");
}

/** Where mounts of one's own are permitted: in a container they may not be. */
export function smallDisk(): { readonly ignore: boolean } {
  try {
    const [command, ...args] = [...OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"];
    if (new Deno.Command(command!, { args, stderr: "null" }).outputSync().success) return { ignore: false };
  } catch {
    // There is no such command.
  }
  Deno.stderr.writeSync(new TextEncoder().encode("tests left out: no disk can be mounted\n"));
  return { ignore: true };
}
