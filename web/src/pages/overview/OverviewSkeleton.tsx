import { Skeleton } from "@mantine/core";
import classes from "./Overview.module.css";

const TILES = ["a", "b", "c", "d", "e", "f"];

export function OverviewSkeleton() {
  return (
    <div className={classes.page} aria-busy="true">
      <div className={classes.tiles}>
        {TILES.map((tile) => (
          <div key={tile} className={classes.tile}>
            <Skeleton height={10} width="50%" mb={10} />
            <Skeleton height={20} width="70%" mb={10} />
            <Skeleton height={8} width="40%" />
          </div>
        ))}
      </div>
      <div className={classes.panels}>
        <Skeleton height={280} />
        <Skeleton height={280} />
      </div>
    </div>
  );
}
