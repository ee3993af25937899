// Builds the page into the folder that the wheel ships (or into the one named as argument).
import { build } from "esbuild";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "torghut_core", "visuals", "static");
await mkdir(out, { recursive: true });

await build({
  entryPoints: { page: join(here, "src/main.ts"), docs: join(here, "src/docs.ts"), report: join(here, "src/report.ts") },
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none", // they are in licences.txt
  outdir: out,
  logLevel: "warning",
});
const copied = { "index.html": "src/index.html", "docs.html": "src/docs.html", "page.css": "src/page.css", "favicon.svg": "src/favicon.svg" };
for (const [name, from] of Object.entries(copied)) await copyFile(join(here, from), join(out, name));
await copyFile(join(here, "node_modules/swagger-ui-dist/swagger-ui.css"), join(out, "docs.css"));

const notices = [];
for (const name of ["lightweight-charts", "fancy-canvas", "swagger-ui-dist"]) {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const texts = [];
  for (const file of ["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"]) {
    try {
      texts.push(await readFile(join(folder, file), "utf8"));
    } catch {
      // not every package has each of them
    }
  }
  notices.push(`${name} ${version} (${license})\n\n${texts.join("\n\n")}`);
}
const attribution = "The charts are TradingView Lightweight Charts(tm), Copyright (c) 2025 TradingView, Inc. https://www.tradingview.com/\n";
await writeFile(join(out, "licences.txt"), `${attribution}\n${notices.join(`\n${"-".repeat(80)}\n\n`)}`);
