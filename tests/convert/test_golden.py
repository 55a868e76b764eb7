"""Networks and one training iteration of the originals, from their files through our converters."""

import json
import math
from pathlib import Path

import pytest
import torch
from originals import case_of, merged, model, near, one_iteration, signed, weights

from genzoo import convert
from genzoo.batches import Images

GOLDEN = Path(__file__).parents[1] / "golden"
EXAMPLES, BURGESS = GOLDEN / "pytorch+examples", GOLDEN / "YannDubs+disentangling-vae"


def same_buffers(network, tensors, shift):
    """Running statistics after a pass in training, whose layers stand `shift` places later in ours."""
    state, count = network.state_dict(), 0
    for key, value in tensors.items():
        if key.startswith("after_train/main."):
            place, name = key.removeprefix("after_train/main.").split(".")
            near(state[f"{int(place) + shift}.{name}"], value)
            count += 1
    assert count


def test_dcgan_generator():
    case = case_of(EXAMPLES / "dcgan64_G")
    made = model(weights(EXAMPLES / "dcgan64_G/weights.pth"))
    z = case["z"].flatten(1)
    near(made.generate(z)[:, :, ::2, ::2], case["image_eval_stride2"])
    near(made.train().generate(z)[:, :, ::2, ::2], case["image_train_stride2"])
    same_buffers(made.generator, case, 1)


def test_dcgan_discriminator():
    case = case_of(EXAMPLES / "dcgan64_D")
    made = model(weights(EXAMPLES / "dcgan64_D/weights.pth"))
    x = signed(case["image_u8"])
    near(made.discriminator(x), case["logits_eval"])
    near(made.discriminator(x).sigmoid(), case["prob_eval"])
    near(made.train().discriminator(x), case["logits_train"])
    same_buffers(made.discriminator, case, 0)


def same_step(made, after, gradients, rate):
    """Weights after a step: Adam's first is the gradient's sign, which rounding decides where there is none."""
    ours = made.state_dict()
    for key, value in after.items():
        if not value.is_floating_point() or key not in gradients:
            continue
        clear = gradients[key].abs() > 1e-5
        assert (ours[key] - value)[clear].abs().max() < 1e-5, key
        assert (ours[key] - value).abs().max() <= 2.1 * rate, key


def test_dcgan_iteration():
    """The source draws once: the discriminator's fakes are those that the generator is judged by afterwards."""
    folder = EXAMPLES / "dcgan64_train"
    case, told = case_of(folder), json.loads((folder / "case.json").read_text())["scalars"]
    before, after = weights(folder / "before.pth"), weights(folder / "after.pth")
    made = model(before["netG"], before["netD"])
    terms, drawn = {}, {}

    def fake(n):
        if "fake" not in drawn:
            with torch.enable_grad():
                made.generator.requires_grad_(True)
                drawn["fake"] = made.generate(case["z"].flatten(1))
        return drawn["fake"] if made.place.player == "g" else drawn["fake"].detach()

    made.fake, made.tally = fake, lambda found, weight: terms.update(found)
    gradients = merged(one_iteration(made, Images(signed(case["real_u8"]), torch.zeros(6))))
    assert terms["discriminator/real"].item() == pytest.approx(told["errD_real"], rel=1e-4)
    assert terms["discriminator/fake"].item() == pytest.approx(told["errD_fake"], rel=1e-4)
    assert terms["generator/adversarial"].item() == pytest.approx(told["errG"], rel=1e-4)
    _, theirs, _ = convert.read(after["netG"], after["netD"])
    names = {f"{'discriminator' if k[5] == 'D' else 'generator'}.{k[7:]}": v for k, v in case.items() if "grad_" in k}
    for key, value in names.items():
        network, _, place, name = key.split(".")
        key = f"{network}.{int(place) + (network == 'generator')}.{name}"
        near(gradients[key], value, 1e-4)
    same_step(made, theirs, gradients, 2e-4)
    for key, value in theirs.items():
        if "running" in key or "num_batches" in key:
            near(made.state_dict()[key], value)


def test_mlp_vae_step():
    """The source sums over the batch, we take its mean: gradients differ by its size, Adam's step does not."""
    folder = EXAMPLES / "vae_mlp_step"
    case, told = case_of(folder), json.loads((folder / "case.json").read_text())["scalars"]
    made, n = model(weights(folder / "before.pth")), 5
    mean, log_var = made.encoder(case["image"])
    near(mean, case["mu"])
    near(log_var, case["logvar"])
    error, kl = made.bound(2 * case["image"] - 1, case["eps"])
    assert error.sum().item() == pytest.approx(told["bce_sum"], rel=1e-5)
    assert kl.sum().item() == pytest.approx(told["kld_sum"], rel=1e-5)
    near((made.generate(mean + (log_var / 2).exp() * case["eps"]).flatten(1) + 1) / 2, case["recon"])
    made.draw = lambda sample, rows, purpose="noise": case["eps"]
    gradients = merged(one_iteration(made, Images(2 * case["image"] - 1, torch.zeros(n))))
    near(n * gradients["encoder.body.1.weight"], case["grad/fc1.weight"], 1e-4)
    heads = torch.cat([case["grad/fc21.weight"], case["grad/fc22.weight"]])
    near(n * gradients["encoder.heads.weight"], heads, 1e-4)
    near(n * gradients["decoder.2.weight"], case["grad/fc4.weight"], 1e-4)
    same_step(made, convert.read(weights(folder / "after.pth"))[1], gradients, 1e-3)


def formula(case):
    """The weights of the case without a weight file, by the rule in it."""
    state = {}
    for k, (name, shape) in enumerate(case["state_dict_order"]):
        i = torch.arange(math.prod(shape), dtype=torch.float64)
        a = torch.sin(i * (0.7310 + 0.0137 * k) + 0.5 * k + (1e-4 * i * i) % 6.283185307179586)
        scale = 1.9 / math.sqrt(math.prod(shape) / shape[0]) if len(shape) > 1 else 0.3
        state[name] = (a * scale).float().view(shape)
    return state


@pytest.mark.parametrize("name", ["burgess32_betaH_step", "burgess64_betaB_step", "burgess64_full_width"])
def test_burgess_vae(name):
    """Encoder, decoder and every loss of the source that we have; its Gaussian term is (255 d)^2 / 255, without constant."""
    case, told = case_of(BURGESS / name), json.loads((BURGESS / name / "case.json").read_text())
    step = BURGESS / name / "before.pth"
    made = model(weights(step) if step.exists() else formula(told))
    tolerance = told["tolerance"]["relative"]
    x, stride = signed(case["image_u8"]), 2 if step.exists() else 4
    mean, log_var = made.encoder((x + 1) / 2)
    near(mean, case["mu"], tolerance)
    near(log_var, case["logvar"], tolerance)
    recon = (made.reconstruct(x) + 1) / 2
    near(recon[:, :, ::stride, ::stride], case[f"recon_eval_stride{stride}"], tolerance)
    checked = 0
    for row in told["loss_table"]:
        if row["loss"] == "btcvae" or row["rec_dist"] == "laplace":
            continue
        made.likelihood, made.sigma = row["rec_dist"], math.sqrt(1 / 510)
        error, kl = made.bound(x, case["eps"])
        constant = x[0].numel() * (math.log(2 * math.pi) + 2 * math.log(made.sigma)) / 2
        error = error.mean() - (constant if row["rec_dist"] == "gaussian" else 0)
        part = min((row["steps_done"] + 1) / row["reg_anneal"], 1) if row["reg_anneal"] else 1
        if row["loss"] == "betaB":
            loss = error + row["gamma"] * (kl.mean() - part * row["C_fin"]).abs()
        else:
            loss = error + part * row.get("beta", 1) * kl.mean()
        assert loss.item() == pytest.approx(row["value"], rel=tolerance), row
        checked += 1
    assert checked == 5


@pytest.mark.parametrize("name", ["burgess32_betaH_step", "burgess64_betaB_step"])
def test_burgess_step(name):
    """One iteration with the configuration's own beta and capacity."""
    folder = BURGESS / name
    case, told = case_of(folder), json.loads((folder / "case.json").read_text())
    step = told["step_loss"]
    change = {"beta": 4} if step["loss"] == "betaH" else {"beta": 100, "capacity": 25 * 20 / 1000}
    rate = told["optimiser"]["lr"]
    change["optimizers"] = {"v": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": rate}}
    made, terms = model(weights(folder / "before.pth"), **change), {}
    made.draw = lambda sample, rows, purpose="noise": case["eps"]
    made.tally = lambda found, weight: terms.update(found)
    gradients = merged(one_iteration(made, Images(signed(case["image_u8"]), torch.zeros(len(case["eps"])))))
    assert sum(terms.values()).item() == pytest.approx(told["step_loss_value"], rel=1e-5)
    near(gradients["encoder.body.0.weight"], case["grad/encoder.conv1.weight"], 1e-4)
    near(gradients["decoder.0.weight"], case["grad/decoder.lin1.weight"], 1e-4)
    same_step(made, convert.read(weights(folder / "after.pth"))[1], gradients, rate)
