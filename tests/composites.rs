//! Which rule each layer of a small network gets from every composite that has a name.

use relprop::{Bounds, Composite, Conv, MaxPool, Network, Position, Rule, Selector, Tensor};

fn weights(shape: &[usize]) -> Tensor {
    Tensor::from_f32(shape, vec![0.1; shape.iter().product()]).expect("weights")
}

/// A convolution, two branches whose first layers both come next, a sum, pooling and two dense layers.
fn network() -> Network {
    let mut net = Network::builder("small");
    let x = net.input("x", &[1, 8, 8]);
    let y = net.conv("stem", x, Conv::new(weights(&[2, 1, 3, 3]), None).padding(1)).expect("conv");
    let y = net.relu("relu", y).expect("relu");
    let y = net.max_pool("max", y, MaxPool::new(2, 2, 2)).expect("max");
    let z = net.conv("branch", y, Conv::new(weights(&[2, 2, 1, 1]), None)).expect("conv");
    let y = net.sum("sum", &[y, z]).expect("sum");
    let y = net.global_average_pool("mean", y).expect("mean");
    let y = net.flatten("flat", y).expect("flat");
    let y = net.dense("hidden", y, weights(&[3, 2]), None).expect("dense");
    let y = net.relu("relu2", y).expect("relu");
    let y = net.dense("classes", y, weights(&[4, 3]), None).expect("dense");
    net.output(y);
    net.build().expect("a network")
}

fn assigned(composite: &Composite) -> String {
    let network = network();
    let rules = composite.assign(&network).unwrap_or_else(|e| panic!("{}: {e}", composite.name()));
    let shown = network.nodes().iter().zip(rules).filter(|(n, _)| n.name != "flat" && n.name != "relu2");
    shown.map(|(node, rule)| format!("{} {rule}", node.name)).collect::<Vec<_>>().join(", ")
}

#[test]
fn presets() {
    let bounds = || Bounds::uniform(-1.0, 1.0).expect("bounds");
    let linear = |stem: &str, branch: &str, dense: &str| {
        format!(
            "stem {stem}, relu pass, max winner takes all, branch {branch}, sum norm, mean norm, hidden {dense}, classes {dense}"
        )
    };
    let table = [
        ("epsilon", linear("epsilon(1e-6)", "epsilon(1e-6)", "epsilon(1e-6)")),
        ("epsilon-plus", linear("zplus", "zplus", "epsilon(1e-6)")),
        ("epsilon-plus-flat", linear("flat", "zplus", "epsilon(1e-6)")),
        ("epsilon-gamma-box", linear("zbox(-1,1)", "gamma(0.25)", "epsilon(1e-6)")),
        ("epsilon-alpha2-beta1", linear("alpha-beta(2,1)", "alpha-beta(2,1)", "epsilon(1e-6)")),
        ("epsilon-alpha2-beta1-flat", linear("flat", "alpha-beta(2,1)", "epsilon(1e-6)")),
        ("deep-taylor", linear("zbox(-1,1)", "zplus", "zplus")),
        ("excitation-backprop", linear("zplus", "zplus", "zplus").replace("pass", "gradient")),
        (
            "gradient",
            linear("gradient", "gradient", "gradient").replace("pass", "gradient").replace("norm", "gradient"),
        ),
        (
            "deconvnet",
            linear("gradient", "gradient", "gradient").replace("pass", "deconvnet").replace("norm", "gradient"),
        ),
        (
            "guided-backprop",
            linear("gradient", "gradient", "gradient").replace("pass", "guided").replace("norm", "gradient"),
        ),
    ];
    for (name, wanted) in table {
        let composite = Composite::parse(name).expect(name).with_bounds(bounds());
        assert_eq!(assigned(&composite), wanted, "{name}");
    }
}

#[test]
fn deep_taylor_without_bounds_begins_with_wsquare() {
    let shown = assigned(&Composite::parse("deep-taylor").expect("a preset"));
    assert!(shown.starts_with("stem wsquare,"), "{shown}");
}

#[test]
fn a_box_rule_without_bounds_says_what_to_give() {
    let error = Composite::parse("epsilon-gamma-box").expect("a preset").assign(&network()).unwrap_err().to_string();
    assert!(error.contains("\"stem\"") && error.contains("--bounds"), "{error}");
}

#[test]
fn selectors_choose_by_name_kind_and_position() {
    let flat = || Rule::parse("flat").expect("a rule");
    let chosen = |selector: Selector| {
        let composite =
            Composite::new("test").with_rule(selector, flat()).with_rule(Selector::default(), Rule::epsilon(0.5));
        let shown = assigned(&composite);
        let flat = shown.split(", ").filter(|s| s.ends_with(" flat")).map(|s| s.trim_end_matches(" flat"));
        flat.collect::<Vec<_>>().join(" ")
    };
    let at = |position| Selector { position: Some(position), ..Selector::default() };
    assert_eq!(chosen(at(Position::First)), "stem");
    assert_eq!(chosen(at(Position::Last)), "classes");
    assert_eq!(chosen(at(Position::Nth(2))), "branch");
    assert_eq!(chosen(at(Position::Before("sum".to_string()))), "stem branch");
    assert_eq!(chosen(Selector { name: Some("[bh]*".to_string()), ..Selector::default() }), "branch hidden");
    assert_eq!(chosen(Selector::of_kind(relprop::LayerKind::Dense)), "hidden classes");
    assert_eq!(chosen(Selector::first(relprop::LayerKind::Dense)), "hidden");
    let error = Composite::new("test").with_rule(at(Position::Nth(9)), flat()).assign(&network()).unwrap_err();
    assert!(error.to_string().contains("there is no layer number 9"), "{error}");
    let error = Composite::new("test").with_rule(at(Position::First), flat()).assign(&network()).unwrap_err();
    assert!(error.to_string().contains("no rule for layer \"branch\""), "{error}");
}
