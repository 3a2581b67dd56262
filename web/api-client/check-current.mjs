// Fails when src/api/schema.gen.ts is not what the generator makes of openapi.json.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const generator = join(here, "node_modules", "openapi-typescript", "bin", "cli.js");
if (!existsSync(generator)) {
  const install = spawnSync("npm", ["--prefix", here, "ci"], { stdio: "inherit" });
  if (install.status !== 0) process.exit(install.status ?? 1);
}
const scratch = mkdtempSync(join(tmpdir(), "tallygate-client-"));
try {
  const fresh = join(scratch, "schema.gen.ts");
  const run = spawnSync(
    process.execPath,
    [generator, join(here, "..", "openapi.json"), "--output", fresh],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  if (run.status !== 0) process.exit(run.status ?? 1);
  const committed = readFileSync(join(here, "..", "src", "api", "schema.gen.ts"), "utf8");
  if (readFileSync(fresh, "utf8") !== committed) {
    console.error("src/api/schema.gen.ts is stale: run `npm run generate` and commit the result.");
    process.exit(1);
  }
  console.log("generated client is current");
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
