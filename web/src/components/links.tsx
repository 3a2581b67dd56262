import { ActionIcon, type ActionIconProps, Anchor, Button, type ButtonProps } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import type { ComponentPropsWithRef } from "react";

type Native = Omit<ComponentPropsWithRef<"a">, "color" | "style">;

// Real links, so that they open in a new tab and are announced as what they are.
function ButtonAnchor(props: ButtonProps & Native) {
  return <Button component="a" {...props} />;
}

function IconAnchor(props: ActionIconProps & Native) {
  return <ActionIcon component="a" {...props} />;
}

/** Mantine's looks with the router's typed `to`, `params` and `search`. */
export const AnchorLink = createLink(Anchor<"a">);
export const ButtonLink = createLink(ButtonAnchor);
export const IconLink = createLink(IconAnchor);
