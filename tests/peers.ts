/**
 * Real programs that tests are held against: tcpdump, gcc, ...
 *
 * @module
 */

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Whether a command can be found on the search path, or a file (a C header) where its absolute path says. */
function isInstalled(command: string): boolean {
  if (command.startsWith("/")) return isFile(command);
  for (const directory of (Deno.env.get("PATH") ?? "").split(":")) {
    try {
      const { isFile, mode } = Deno.statSync(`${directory}/${command}`);
      if (isFile && ((mode ?? 0) & 0o111) !== 0) return true;
    } catch {
      // Not there.
    }
  }
  return false;
}

/**
 * What a test that needs these commands or files says of itself: `Deno.test({ ...needPeers("tcpdump"), name, fn })`.
 * Where one is missing the test is left out, and a line says so; with CI in the environment it is an error, so that no
 * such test goes missing unseen.
 */
export function needPeers(...commands: readonly string[]): { ignore: boolean } {
  const missing = commands.filter((command) => !isInstalled(command));
  if (missing.length === 0) return { ignore: false };
  if (Deno.env.get("CI")) throw new Error(`Tests need ${missing.join(", ")}: not found`);
  Deno.stderr.writeSync(new TextEncoder().encode(`tests left out: ${missing.join(", ")} not found\n`));
  return { ignore: true };
}
