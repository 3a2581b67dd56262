// In a cascade layer of their own, so that a page's own rules win whatever the order chunks arrive in.
import "@mantine/core/styles.layer.css";
import "@mantine/notifications/styles.layer.css";
