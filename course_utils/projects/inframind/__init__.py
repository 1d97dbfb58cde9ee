"""InfraMind: Terraform and Kubernetes, judged by a reward."""
