import { ActionIcon, type ActionIconProps } from "@mantine/core";
import type { ComponentPropsWithRef } from "react";

/** An icon that can be pressed always has a name. */
export function IconAction({
  label,
  ...rest
}: { label: string } & ActionIconProps & ComponentPropsWithRef<"button">) {
  return <ActionIcon aria-label={label} title={label} {...rest} />;
}
