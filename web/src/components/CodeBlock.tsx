import classes from "./CodeBlock.module.css";
import { CopyIcon } from "./CopyButton";

export function CodeBlock({ code, wrap = false }: { code: string; wrap?: boolean }) {
  return (
    <div className={classes.block}>
      <pre className={classes.pre} data-wrap={wrap || undefined} tabIndex={-1}>
        {code}
      </pre>
      <div className={classes.copy}>
        <CopyIcon text={code} />
      </div>
    </div>
  );
}
