// Runs before the first paint so that a dark screen never flashes white.
(() => {
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("tallygate.scheme") || "auto";
  } catch {
    // Storage may be forbidden; the system's choice is then the answer.
  }
  const dark =
    chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
