"""What is shipped to run Roadstead: image, Compose files, Kubernetes manifests, units."""
