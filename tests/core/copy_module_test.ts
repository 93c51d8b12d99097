import { assertEquals } from "@std/assert";
import { COPY_MODULE } from "../../core/copy_module.ts";
import { needPeers } from "../peers.ts";

Deno.test({
  name: "COPY_MODULE is what wat2wasm makes of copy.wat",
  ...needPeers("wat2wasm"),
  async fn() {
    const source = new URL("../../core/copy.wat", import.meta.url);
    const file = await Deno.makeTempFile({ suffix: ".wasm" });
    try {
      const command = new Deno.Command("wat2wasm", { args: [source.pathname, "-o", file] });
      assertEquals((await command.output()).code, 0);
      assertEquals(COPY_MODULE, await Deno.readFile(file));
    } finally {
      await Deno.remove(file);
    }
  },
});
