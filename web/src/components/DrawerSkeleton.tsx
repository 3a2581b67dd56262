import { Skeleton, Stack } from "@mantine/core";

export function DrawerSkeleton() {
  return (
    <Stack gap="md" pt="md" aria-busy="true">
      <Skeleton height={12} width="40%" />
      <Skeleton height={10} />
      <Skeleton height={10} width="80%" />
      <Skeleton height={10} width="60%" />
    </Stack>
  );
}
