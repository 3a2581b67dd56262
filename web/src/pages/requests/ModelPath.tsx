import type { RequestSummary } from "@/api/types";
import classes from "./ModelPath.module.css";

/** The model asked for, and the one it was sent to; what came back is in the detail. */
export function ModelPath({ request }: { request: RequestSummary }) {
  const { model, upstream_model } = request;
  return (
    <span
      className={classes.path}
      title={[model, upstream_model, request.returned_model].filter(Boolean).join(" → ")}
    >
      {model}
      {upstream_model && upstream_model !== model ? (
        <span className={classes.sent}> → {upstream_model}</span>
      ) : null}
    </span>
  );
}
